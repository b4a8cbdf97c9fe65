/**
 * The chat on a terminal: what arrives stands above the half-typed line, which stays; states come
 * as they are earned; text of others cannot touch the screen. The terminal is a pair of streams,
 * the node a small one behind a real control socket.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { stripVTControlCharacters } from 'node:util'
import * as assert from 'uvu/assert'
import { run } from '../../cli/commands/chat.ts'
import type { CommandContext } from '../../cli/context.ts'
import { Terminal } from '../../cli/terminal.ts'
import { claimSocketPath } from '../../node/control/control-path.ts'
import { ControlServer } from '../../node/control/control-server.ts'
import { silentLog } from '../../node/ports.ts'
import type {
  ClientApi, ClientEvent, Contact, HistoryEntry, MessageState, MessageStatus,
} from '../../protocol/client/api.ts'
import type { EnvelopeId, MessageId } from '../../protocol/ids.ts'
import { suite } from '../helpers/harness.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'

const test = suite('cli/chat')

const address = `oim1q${'b'.repeat(58)}`
const bob: Contact = { name: 'bob', address, trust: 'invite', state: 'active', addedAtMs: 0 }
const id = (n: number): MessageId => n.toString(16).padStart(32, '0') as MessageId

function status(n: number, state: MessageState): MessageStatus {
  const stored = { have: 3, want: 3 }
  return { id: id(n), contact: 'bob', state, stored, route: 'direct', level: 0, sentAtMs: 0 }
}

function incoming(cursor: number, text: string): HistoryEntry {
  return { cursor, id: id(cursor), contact: 'bob', direction: 'in', text, sentAtMs: 0, receivedAtMs: 0 }
}

/** A node with one contact, and what the chat asked of it. */
class Node {
  readonly sent: string[] = []
  readonly read: number[] = []
  polls = 0
  history: HistoryEntry[] = []
  #listener: ((event: ClientEvent) => void) | undefined
  #latest = new Map<string, MessageStatus>()

  emit(event: ClientEvent): void {
    if (event.type === 'status') this.#latest.set(event.status.id, event.status)
    this.#listener?.(event)
  }

  readonly client = {
    contact: async () => bob,
    info: async () => ({ online: true, outbox: 1 }),
    history: async () => this.history.toReversed(),
    markRead: async (_contact: string, upTo: number) => void this.read.push(upTo),
    send: async (_contact: string, text: string) => {
      this.sent.push(text)
      const queued = status(this.sent.length, 'queued')
      this.#latest.set(queued.id, queued)
      return queued
    },
    status: async (asked: MessageId) => {
      this.polls++
      return this.#latest.get(asked)
    },
    on: (listener: (event: ClientEvent) => void) => {
      this.#listener = listener
      return () => { this.#listener = undefined }
    },
  } as unknown as ClientApi
}

class Scene {
  readonly node = new Node()
  readonly stdin = new PassThrough()
  readonly #stdout = new PassThrough()
  #shown = ''
  #ended: Promise<unknown> = Promise.resolve()
  #server: ControlServer | undefined
  #dir = ''

  async start(isTTY: boolean): Promise<void> {
    this.#dir = await mkdtemp(join(tmpdir(), 'openim-chat-'))
    const clock = new VirtualClock()
    const node = { client: this.node.client } as never
    const path = await claimSocketPath(this.#dir)
    this.#server = new ControlServer({ node, clock, log: silentLog }, { path })
    await this.#server.start()
    this.#stdout.setEncoding('utf8').on('data', (text: string) => { this.#shown += text })
    const stdin = Object.assign(this.stdin, { isTTY, setRawMode: () => stdin })
    const stdout = Object.assign(this.#stdout, { isTTY, columns: 80, rows: 24 })
    const streams = { stdin, stdout, stderr: Object.assign(new PassThrough(), { isTTY }) }
    const context: Partial<CommandContext> = {
      args: ['bob'],
      options: {},
      paths: { dataDir: this.#dir, configFile: '' },
      terminal: new Terminal(streams, { json: false, colour: false, env: {} }),
      clock,
      openim: 'openim',
    }
    this.#ended = run(context as CommandContext)
    // `end` looks at it; until then a failure must not end the process.
    this.#ended.catch(() => {})
  }

  /** Waits until the plain text of the screen so far matches. */
  async sees(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.screen)) await new Promise((resolve) => setImmediate(resolve))
  }

  get screen(): string {
    return stripVTControlCharacters(this.#shown).replaceAll('\r', '')
  }

  get raw(): string {
    return this.#shown
  }

  async end(): Promise<void> {
    this.stdin.end()
    await this.#ended
    await this.#server?.stop()
    await rm(this.#dir, { recursive: true, force: true })
  }
}

let scene = new Scene()
test.before.each(() => { scene = new Scene() })
test.after.each(async () => await scene.end())

test('keeps the half-typed line when a message arrives', async () => {
  await scene.start(true)
  await scene.sees(/> $/)
  scene.stdin.write('half a sen')
  await scene.sees(/half a sen$/)
  scene.node.emit({ type: 'message', entry: incoming(1, 'are you there?') })
  await scene.sees(/bob {2}are you there\?\n> half a sen$/)
  scene.stdin.write('tence\r')
  await scene.sees(/tence\n/)
  while (scene.node.sent.length === 0) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(scene.node.sent, ['half a sentence'])
})

test('shows each state once, as it is earned, and never backwards', async () => {
  await scene.start(true)
  await scene.sees(/> $/)
  scene.stdin.write('hello\r')
  // The chat asks once after it sent; what comes then are events.
  while (scene.node.polls === 0) await new Promise((resolve) => setImmediate(resolve))
  for (const state of ['stored', 'stored', 'delivered', 'read'] as const) {
    scene.node.emit({ type: 'status', status: status(1, state) })
  }
  await scene.sees(/✓ stored 3\/3 {2}hello\n[^✓]*✓✓ delivered {2}hello\n[^✓]*✓✓ read {2}hello\n/)
})

test('lets nothing of others touch the screen', async () => {
  await scene.start(true)
  await scene.sees(/> $/)
  scene.node.emit({ type: 'message', entry: incoming(1, '\u001b[2J\u009b31m\u202eevil\nsecond') })
  await scene.sees(/second\n/)
  assert.match(scene.screen, '\\u001b[2J\\u009b31m\\u202eevil\n')
  assert.not.match(scene.raw, '\u001b[2J')
})

test('raises an alarm about the key, in words and with its code, and says how to settle it', async () => {
  await scene.start(true)
  await scene.sees(/> $/)
  const told = { type: 'trust', contact: 'bob', atMs: 0 } as const
  scene.node.emit({ ...told, from: 'verified', to: 'changed', code: 'DEVICE_LIST_FORK' })
  await scene.sees(/! The key of bob: two different device lists .*\(DEVICE_LIST_FORK\)\n/)
  await scene.sees(/Nothing is sent until you settled it: openim verify bob\n/)
  scene.node.emit({ ...told, from: 'changed', to: 'verified' })
  await scene.sees(/The key of bob: verified\n/)
  scene.node.emit({ ...told, contact: 'carol', from: 'invite', to: 'changed', code: 'DEVICE_LIST_FORK' })
  scene.node.emit({ type: 'message', entry: incoming(1, 'still here') })
  await scene.sees(/still here\n/)
  assert.not.match(scene.screen, 'carol')
})

test('names what cannot be read, and what became of it', async () => {
  await scene.start(true)
  await scene.sees(/> $/)
  const told = {
    type: 'undecryptable', id: 'ab'.repeat(32) as EnvelopeId, contact: 'bob', code: 'SESSION_UNKNOWN',
    atMs: 0,
  } as const
  scene.node.emit({ ...told, state: 'asked' })
  await scene.sees(/a message of bob could not be read \(SESSION_UNKNOWN\); it is asked for again\n/)
  scene.node.emit({ ...told, state: 'recovered' })
  await scene.sees(/that could not be read is here now/)
  scene.node.emit({ ...told, state: 'lost' })
  scene.node.emit({ type: 'message', entry: { ...incoming(1, ''), unreadable: 'SESSION_UNKNOWN' } })
  await scene.sees(/bob {2}\(a message that could not be read and is lost: SESSION_UNKNOWN\)\n/)
})

test('tells the sender what was read, history included', async () => {
  scene.node.history = [incoming(1, 'old'), incoming(2, 'older')]
  await scene.start(true)
  await scene.sees(/old\n.*older\n/)
  scene.node.emit({ type: 'message', entry: incoming(3, 'new') })
  await scene.sees(/new\n/)
  while (scene.node.read.at(-1) !== 3) await new Promise((resolve) => setImmediate(resolve))
})

test('sends a line that starts with two slashes with one, and knows its commands', async () => {
  await scene.start(true)
  await scene.sees(/> $/)
  scene.stdin.write('/halp\r//halp\r/status\r')
  await scene.sees(/There is no \/halp\./)
  await scene.sees(/connected, 1 not delivered yet/)
  assert.equal(scene.node.sent, ['/halp'])
})

test('reads lines and prints lines where there is no terminal', async () => {
  scene.node.client.waitFor = async (asked) => ({ ...status(1, 'delivered'), id: asked })
  await scene.start(false)
  scene.stdin.write('one\ntwo\n')
  while (scene.node.sent.length < 2) await new Promise((resolve) => setImmediate(resolve))
  await scene.end()
  assert.equal(scene.node.sent, ['one', 'two'])
  assert.match(scene.screen, /✓✓ delivered {2}one\n/)
  assert.is(scene.raw, scene.screen)
})

test('says so when the node stops', async () => {
  await scene.start(true)
  await scene.sees(/> $/)
  scene.node.emit({ type: 'connection', online: false })
  await scene.sees(/Not connected: messages wait here/)
})

test.run()
