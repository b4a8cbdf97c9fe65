/**
 * The people and things in the connector suite: a door under test, hosts and devices that remember
 * what happened to them, and time. Time is a virtual clock that the tests move; sockets get turns
 * of the real event loop meanwhile.
 */
import { setImmediate } from 'node:timers/promises'
import { hex, utf8 } from '../../crypto/bytes.ts'
import type { Result } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import type { DhKeyPair } from '../../crypto/provider.ts'
import type { AcceptedLink, Connector } from '../../node/ports.ts'
import type { Frame } from '../../protocol/frame/frame.ts'
import type { MessageLink } from '../../protocol/ports.ts'
import { DeviceSession } from '../../protocol/session/device-session.ts'
import { SessionHost } from '../../protocol/session/session-host.ts'
import type { Dialer, HostedSession } from '../../protocol/session/types.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'

/** One transport under test. */
export interface ConnectorCase {
  readonly name: string
  /** What its links say. */
  readonly transport: string
  /** A page cannot stop reading its WebSocket: the session's window bounds what waits there. */
  readonly readsAlways?: boolean
  create(clock: VirtualClock): Connector
  /** Once the connector has started. Without `node` it knows the door's true key. */
  dialer(connector: Connector, clock: VirtualClock, own: DhKeyPair, node?: Uint8Array): Dialer
}

export function deviceKeys(name: string): DhKeyPair {
  return crypto.dhKeyPair(crypto.sha256(utf8(name)))
}

/** A frame that carries a number and `length` bytes. */
export function numberedFrame(number: number, length = 0): Frame {
  return { type: 'refusal', request: number, code: 'TEST', detail: 'x'.repeat(Math.min(length, 512)) }
}

export function largeFrame(number: number, length: number): Frame {
  const envelope = new Uint8Array(length)
  new DataView(envelope.buffer).setUint32(0, number)
  return { type: 'submit', envelope, homes: [], replicas: [], purpose: 1, level: 0 }
}

export function frameNumber(frame: Frame): number {
  if (frame.type === 'refusal') return frame.request
  if (frame.type !== 'submit') return -1
  return new DataView(frame.envelope.buffer, frame.envelope.byteOffset).getUint32(0)
}

/** Moves time in small steps, with turns for sockets between them, until `done`. */
export async function drive(
  clock: VirtualClock,
  done: () => boolean,
  options: { stepMs?: number } = {},
): Promise<void> {
  while (!done()) {
    await clock.advance(options.stepMs ?? 5)
    await setImmediate()
  }
}

/** Turns for sockets alone; time stands still. */
export async function turns(done: () => boolean): Promise<void> {
  while (!done()) await setImmediate()
}

/** A node's end that remembers what happened. */
export class TestHost {
  readonly clock: VirtualClock
  readonly host: SessionHost<string>
  readonly received: number[] = []
  readonly events: string[] = []
  readonly sessions: HostedSession<string>[] = []
  allowed: (deviceKey: Uint8Array) => Result<string> = (key) => ({ ok: true, value: hex(key) })
  answer: (session: HostedSession<string>, frame: Frame) => void | Promise<void> = () => {}

  constructor(clock: VirtualClock, seed = 'host') {
    this.clock = clock
    this.host = new SessionHost<string>({ clock, random: seededRandom(seed) }, {
      authorise: (key) => this.allowed(key),
      opened: (session) => {
        this.sessions.push(session)
        this.events.push('opened')
      },
      frame: (session, frame) => {
        this.received.push(frameNumber(frame))
        return this.answer(session, frame)
      },
      drain: () => this.events.push('drain'),
      linked: (_session, online) => this.events.push(online ? 'up' : 'down'),
      ended: (_session, code) => this.events.push(`ended ${code}`),
    })
  }

  get session(): HostedSession<string> {
    return this.sessions.at(-1)!
  }
}

/** A device's end that remembers what happened. */
export class TestDevice {
  readonly session: DeviceSession
  readonly received: number[] = []
  readonly events: string[] = []
  answer: (frame: Frame) => void | Promise<void> = () => {}

  constructor(clock: VirtualClock, dialer: Dialer, seed: string | number = 'device') {
    this.session = new DeviceSession({ dialer, clock, random: seededRandom(seed) }, {
      frame: (frame) => {
        this.received.push(frameNumber(frame))
        return this.answer(frame)
      },
      state: (online, code) => this.events.push(online ? 'online' : `offline ${code}`),
      reset: () => this.events.push('reset'),
    })
  }
}

/** Clock, connector and what it accepted; closed after each test. */
export class Door {
  readonly clock: VirtualClock
  readonly connector: Connector
  readonly accepted: AcceptedLink[] = []
  readonly #transport: ConnectorCase
  readonly #devices: TestDevice[] = []
  readonly #hosts: TestHost[] = []
  readonly #dialled: MessageLink[] = []
  #accept: (accepted: AcceptedLink) => void = (accepted) => this.accepted.push(accepted)

  /** Doors of one node share a clock. */
  constructor(transport: ConnectorCase, clock = new VirtualClock()) {
    this.clock = clock
    this.#transport = transport
    this.connector = transport.create(this.clock)
  }

  async open(): Promise<void> {
    await this.connector.start((accepted) => this.#accept(accepted))
  }

  dialer(name = 'anna', node?: Uint8Array): Dialer {
    const dialer = this.#transport.dialer(this.connector, this.clock, deviceKeys(name), node)
    return {
      dial: async (signal) => {
        const link = await dialer.dial(signal)
        this.#dialled.push(link)
        return link
      },
    }
  }

  host(seed?: string): TestHost {
    const host = new TestHost(this.clock, seed)
    this.#hosts.push(host)
    this.leadTo(host)
    return host
  }

  /** What comes in here goes to that host, which another door closes. */
  leadTo(host: TestHost): void {
    this.#accept = (accepted) => host.host.accept(accepted)
  }

  device(dialer = this.dialer(), seed?: string | number): TestDevice {
    const device = new TestDevice(this.clock, dialer, seed)
    this.#devices.push(device)
    return device
  }

  /** Two ends of one link. A device's first message makes a node believe in it. */
  async links(): Promise<{ device: MessageLink, node: MessageLink, atDevice: Recorder, atNode: Recorder }> {
    const device = await this.dialer().dial(new AbortController().signal)
    const atDevice = new Recorder(device)
    device.send(new Uint8Array([0]))
    await turns(() => this.accepted.length > 0)
    const node = this.accepted.pop()!.link
    const atNode = new Recorder(node)
    await turns(() => atNode.messages.length === 1)
    atNode.messages.length = 0
    return { device, node, atDevice, atNode }
  }

  async close(): Promise<void> {
    for (const link of this.#dialled) link.close('TEST_DONE')
    const stops = [
      ...this.#devices.map((device) => device.session.stop()),
      ...this.#hosts.map((host) => host.host.stop()),
      this.connector.stop(),
    ]
    let closed = false
    void Promise.all(stops).then(() => { closed = true })
    await drive(this.clock, () => closed)
  }
}

export class Recorder {
  readonly messages: Uint8Array[] = []
  bytes = 0
  drains = 0
  closed: string | undefined

  constructor(link: MessageLink) {
    link.listen({
      message: (message) => {
        this.messages.push(message)
        this.bytes += message.length
      },
      drain: () => this.drains++,
      closed: (code) => { this.closed = code },
    })
  }
}
