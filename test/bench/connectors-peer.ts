/**
 * The two ends of the doors' bench, each a process of its own:
 *
 * - `node` has one door of each kind with a `SessionHost` behind, and the bare doors beside;
 * - `device` has a `DeviceSession` to each door, a bare connection to each bare door, and, for what
 *   idle devices cost, a crowd of sessions.
 *
 * Over both kinds of connection the same is said: payloads, which are counted; `COUNT`, answered by
 * how many came; `FLOOD size ms`, answered by payloads and then their number; `ECHO`.
 */
import type { Frame } from '../../protocol/frame/frame.ts'
import { utf8, utf8Decode } from '../../crypto/bytes.ts'
import { serveCommands } from './bench-process.ts'
import type { Answerer } from './bench-process.ts'
import { dialSession, openHost, startCrowd } from './connectors-doors.ts'
import type { Crowd, CrowdPlace, DoorKind, DoorPorts } from './connectors-doors.ts'
import { dialRaw, listenRaw, rawKinds } from './connectors-raw.ts'
import type { RawKind, RawPipe } from './connectors-raw.ts'

export type Side = DoorKind | `raw ${RawKind}`

export type DoorCommand =
  | { readonly op: 'listen' }
  | { readonly op: 'dial', readonly ports: BenchPorts }
  /** Device → node, for so long; the messages that arrived, a second. */
  | { readonly op: 'in' | 'out', readonly side: Side, readonly bytes: number, readonly ms: number }
  | { readonly op: 'echo', readonly side: Side, readonly count: number }
  | { readonly op: 'crowd', readonly place: CrowdPlace, readonly count: number }
  | { readonly op: 'leave' | 'online' }

export interface BenchPorts {
  readonly doorKey: string
  readonly doors: DoorPorts
  readonly raw: Readonly<Record<RawKind, number>>
}

export interface Rate {
  readonly perSecond: number
  readonly messages: number
}

/** What both kinds of connection can. `send` gives a promise when the sender has to wait. */
interface Line {
  send(message: Uint8Array): Promise<void> | undefined
  onMessage: (message: Uint8Array) => void | Promise<void>
}

/** Type and length of the frame that carries a payload. */
const frameHeadBytes = 3
const payloadMark = 0
const controlMark = 1
const sendsPerLook = 64

function payloadOf(bytes: number): Uint8Array {
  return new Uint8Array(bytes - frameHeadBytes).fill(payloadMark)
}

function control(text: string): Uint8Array {
  return new Uint8Array([controlMark, ...utf8(text)])
}

function controlText(message: Uint8Array): string | undefined {
  return message[0] === controlMark ? utf8Decode(message.subarray(1)) : undefined
}

/** The same bytes as an application frame: type, length, and what is in it. */
function asFrame(message: Uint8Array): Frame {
  return { type: 'linkMessage', bytes: message }
}

/** Sends for so long, as fast as the other end takes it. @returns how many */
async function flood(line: Line, bytes: number, ms: number): Promise<number> {
  const message = payloadOf(bytes)
  const endMs = performance.now() + ms
  let sent = 0
  while (performance.now() < endMs) {
    for (let i = 0; i < sendsPerLook; i++) {
      const full = line.send(message)
      if (full !== undefined) await full
    }
    sent += sendsPerLook
  }
  return sent
}

/** The node's end of one line. */
function answerLine(line: Line): void {
  let count = 0
  line.onMessage = (message) => {
    const text = controlText(message)
    if (text === undefined) {
      count++
      return
    }
    const [word, bytes, ms] = text.split(' ')
    if (word === 'ECHO') return line.send(message)
    if (word === 'FLOOD') {
      void flood(line, Number(bytes), Number(ms)).then((sent) => line.send(control(`SENT ${sent}`)))
      return
    }
    void line.send(control(`COUNT ${count}`))
    count = 0
  }
}

/** The device's end: asks, and counts what comes. */
class Asker {
  readonly #line: Line
  #count = 0
  #answered: (text: string) => void = () => {}

  constructor(line: Line) {
    this.#line = line
    line.onMessage = (message) => {
      const text = controlText(message)
      if (text === undefined) this.#count++
      else this.#answered(text)
    }
  }

  async #ask(text: string): Promise<string> {
    const answer = new Promise<string>((resolve) => { this.#answered = resolve })
    await this.#line.send(control(text))
    return await answer
  }

  async in(bytes: number, ms: number): Promise<Rate> {
    const startMs = performance.now()
    await flood(this.#line, bytes, ms)
    const messages = Number((await this.#ask('COUNT')).split(' ')[1])
    return { messages, perSecond: (messages * 1_000) / (performance.now() - startMs) }
  }

  async out(bytes: number, ms: number): Promise<Rate> {
    this.#count = 0
    const startMs = performance.now()
    await this.#ask(`FLOOD ${bytes} ${ms}`)
    return { messages: this.#count, perSecond: (this.#count * 1_000) / (performance.now() - startMs) }
  }

  /** Milliseconds of each round trip, with pauses between them. */
  async echo(count: number): Promise<number[]> {
    const samples: number[] = []
    const text = `ECHO ${'x'.repeat(92)}`
    for (let i = 0; i < count; i++) {
      const startMs = performance.now()
      await this.#ask(text)
      samples.push(performance.now() - startMs)
      await new Promise((resolve) => { setTimeout(resolve, 2) })
    }
    return samples
  }
}

function pipeLine(pipe: RawPipe): Line {
  const line: Line = { send: (message) => pipe.send(message), onMessage: () => {} }
  pipe.onMessage = (message) => { void line.onMessage(message) }
  return line
}

async function runNode(): Promise<Answerer<DoorCommand>> {
  const host = await openHost((session) => {
    const line: Line = { send: (message) => session.send(asFrame(message)), onMessage: () => {} }
    answerLine(line)
    return (frame) => (frame.type === 'linkMessage' ? line.onMessage(frame.bytes) : undefined)
  })
  return async (command) => {
    if (command.op === 'online') return host.online()
    if (command.op !== 'listen') return undefined
    const raw = {} as Record<RawKind, number>
    for (const kind of rawKinds) raw[kind] = await listenRaw(kind, (pipe) => answerLine(pipeLine(pipe)))
    return { doorKey: host.doorKey, doors: host.ports, raw } satisfies BenchPorts
  }
}

async function runDevice(): Promise<Answerer<DoorCommand>> {
  const askers = new Map<Side, Asker>()
  let crowd: Crowd | undefined
  return async (command) => {
    switch (command.op) {
      case 'dial':
        for (const [side, line] of await dialAll(command.ports)) askers.set(side, new Asker(line))
        return undefined
      case 'in': return await askers.get(command.side)!.in(command.bytes, command.ms)
      case 'out': return await askers.get(command.side)!.out(command.bytes, command.ms)
      case 'echo': return await askers.get(command.side)!.echo(command.count)
      case 'crowd':
        crowd ??= startCrowd(command.place)
        return await crowd.grow(command.count)
      case 'online': return crowd?.online() ?? 0
      case 'leave':
        await crowd?.leave()
        crowd = undefined
        return undefined
      case 'listen': return undefined
    }
  }
}

async function dialAll({ doorKey, doors, raw }: BenchPorts): Promise<[Side, Line][]> {
  const lines: [Side, Line][] = []
  for (const door of ['loopback', ...Object.keys(doors)] as DoorKind[]) {
    const line: Line = { send: (message) => session.send(asFrame(message)), onMessage: () => {} }
    const session = await dialSession({ doorKey, door, port: door === 'loopback' ? 0 : doors[door] }, {
      frame: (frame) => (frame.type === 'linkMessage' ? line.onMessage(frame.bytes) : undefined),
      /** Of loopback, whose other end is in this process, too. */
      other: (other) => {
        const back: Line = { send: (message) => other.send(asFrame(message)), onMessage: () => {} }
        answerLine(back)
        return (frame) => (frame.type === 'linkMessage' ? back.onMessage(frame.bytes) : undefined)
      },
    })
    lines.push([door, line])
  }
  for (const kind of rawKinds) lines.push([`raw ${kind}`, pipeLine(await dialRaw(kind, raw[kind]))])
  return lines
}

if (process.argv[1] === import.meta.filename) await serveCommands({ node: runNode, device: runDevice })
