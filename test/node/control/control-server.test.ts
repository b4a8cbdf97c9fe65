/**
 * The control socket: calls, refusals, events and limits, spoken to by the CLI's own client and by
 * hand. The node behind it is a small one of this test.
 */
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { createConnection } from 'node:net'
import type { Socket } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { ControlClient } from '../../../cli/control-client.ts'
import { errorCode, OpenIMError } from '../../../crypto/errors.ts'
import { claimSocketPath, findSocketPath } from '../../../node/control/control-path.ts'
import type { ControlledNode } from '../../../node/control/control-protocol.ts'
import { ControlServer } from '../../../node/control/control-server.ts'
import { silentLog } from '../../../node/ports.ts'
import type { ClientEvent, MessageStatus } from '../../../protocol/client/api.ts'
import type { MessageId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { suite } from '../../helpers/harness.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

const test = suite('node/control')

const id = 'ab'.repeat(16) as MessageId
const queued: MessageStatus = {
  id, contact: 'bob', state: 'queued', stored: { have: 0, want: 3 }, route: 'none', level: 0, sentAtMs: 0,
}

let dir = ''
let clock = new VirtualClock()
let listeners = new Set<(event: ClientEvent) => void>()
let waits = 0
let server: ControlServer

/** Answers as much as these tests ask. */
const client = {
  contact: async (name: string) => {
    throw new OpenIMError('CONTACT_UNKNOWN', `there is no contact ${name}`)
  },
  send: async (contact: string, text: string) => ({ ...queued, contact, code: text }),
  status: async (asked: MessageId) => (asked === id ? queued : undefined),
  waitFor: async (_id: MessageId, _state: string, signal: AbortSignal) => {
    waits++
    if (!signal.aborted) await once(signal, 'abort')
    return queued
  },
  history: async () => { throw new TypeError('a bug') },
  setCursor: async () => {},
  on: (listener: (event: ClientEvent) => void) => {
    listeners.add(listener)
    return () => { listeners.delete(listener) }
  },
} as unknown as ControlledNode['client']
const node: ControlledNode = {
  client,
  status: async () => { throw new Error('not asked here') },
  peers: () => [],
  backup: async ({ path }) => ({ records: 1, mail: 2, bytes: path.length }),
  doctor: async (contact) => ({ ok: true, checks: [], ...(contact === undefined ? {} : { contact }) }),
  ping: async (target) => ({ target, ok: false, route: 'none' }),
}

test.before.each(async () => {
  dir = await mkdtemp(join(tmpdir(), 'openim-control-'))
  clock = new VirtualClock()
  listeners = new Set()
  waits = 0
  server = new ControlServer({ node, clock, log: silentLog }, { path: await claimSocketPath(dir) })
  await server.start()
})
test.after.each(async () => {
  await server.stop()
  await rm(dir, { recursive: true, force: true })
})

async function connected<T>(work: (client: ControlClient) => Promise<T>): Promise<T> {
  const control = await ControlClient.connect(dir)
  try {
    return await work(control)
  } finally {
    control.close()
  }
}

/** Writes raw bytes and returns the first line that comes back. */
async function raw(bytes: string | Uint8Array): Promise<Record<string, unknown>> {
  const socket: Socket = createConnection(await findSocketPath(dir))
  try {
    socket.write(bytes)
    let text = ''
    for await (const chunk of socket) {
      text += String(chunk)
      if (text.includes('\n')) break
    }
    return JSON.parse(text.split('\n', 1)[0]!) as Record<string, unknown>
  } finally {
    socket.destroy()
  }
}

test('is a socket for its owner alone, and goes with the node', async () => {
  const path = await findSocketPath(dir)
  assert.is((await stat(path)).mode & 0o777, 0o600)
  await server.stop()
  await server.stop()
  assert.is(await stat(path).catch(errorCode), 'ENOENT')
  assert.is(await ControlClient.connect(dir).catch(errorCode), 'NODE_NOT_RUNNING')
})

test('takes the place of a socket that a killed node left behind', async () => {
  const second = new ControlServer({ node, clock, log: silentLog }, { path: await findSocketPath(dir) })
  await second.start()
  assert.equal(await connected((control) => control.call('peers', {})), [])
  await second.stop()
})

test('carries parameters and results, many at once', async () => {
  await connected(async (control) => {
    const texts = Array.from({ length: 40 }, (_, i) => `line ${i}\n\u2028 ${'é'.repeat(i)}`)
    const sent = await Promise.all(texts.map((text) => control.call('send', { contact: 'bob', text })))
    assert.equal(sent.map((status) => status.code), texts)
  })
})

test('carries an error of the node by its code', async () => {
  await connected(async (control) => {
    const error = await control.call('contact', { contact: 'eve' }).catch((thrown: unknown) => thrown)
    assert.is(errorCode(error), 'CONTACT_UNKNOWN')
    assert.is((error as Error).message, 'there is no contact eve')
  })
})

test('names a bug without spreading it out', async () => {
  await connected(async (control) => {
    const error = await control.call('history', {}).catch((thrown: unknown) => thrown)
    assert.is(errorCode(error), 'CONTROL_FAILED')
    assert.not.match((error as Error).message, /control-server|node:/)
  })
})

const refused: readonly (readonly [string, string, string])[] = [
  ['a line that is no JSON', 'hello', 'CONTROL_REQUEST'],
  ['JSON of another shape', '[1,2]', 'CONTROL_REQUEST'],
  ['an unknown field', '{"id":1,"method":"peers","parms":{}}', 'CONTROL_REQUEST'],
  ['an unknown method', '{"id":1,"method":"shutdown"}', 'CONTROL_METHOD'],
  ['a method of the prototype', '{"id":1,"method":"constructor"}', 'CONTROL_METHOD'],
  ['parameters that are missing', '{"id":1,"method":"send","params":{"contact":"bob"}}', 'CONTROL_PARAMS'],
  ['parameters that nobody asked for', '{"id":1,"method":"peers","params":{"a":1}}', 'CONTROL_PARAMS'],
  ['a position that is no number', '{"id":1,"method":"setCursor","params":{"name":"a","position":"1"}}',
    'CONTROL_PARAMS'],
  ['a message id that is none', '{"id":1,"method":"messageStatus","params":{"id":"../x"}}', 'CONTROL_PARAMS'],
]
for (const [what, line, code] of refused) {
  test(`refuses ${what}`, async () => {
    const reply = await raw(`${line}\n`)
    assert.is((reply['error'] as { code: string }).code, code)
  })
}

test('refuses a line beyond the limit and hangs up', async () => {
  const reply = await raw('x'.repeat(limits.controlLineBytesMax + 1))
  assert.is((reply['error'] as { code: string }).code, 'CONTROL_REQUEST')
})

test('ends a wait when its time is over, with the state it has', async () => {
  await connected(async (control) => {
    const waiting = control.call('waitFor', { id, state: 'delivered', timeoutMs: 5_000 })
    while (waits === 0) await new Promise((resolve) => setImmediate(resolve))
    await clock.advance(5_000)
    assert.is((await waiting).state, 'queued')
  })
})

test('ends a wait that is cancelled', async () => {
  await connected(async (control) => {
    const abort = new AbortController()
    const waiting = control.call('waitFor', { id, state: 'delivered', timeoutMs: 5_000 }, abort.signal)
    abort.abort()
    assert.is((await waiting).state, 'queued')
  })
})

test('refuses to wait for a message that is not there', async () => {
  await connected(async (control) => {
    const unknown = 'cd'.repeat(16) as MessageId
    const failure = control.call('waitFor', { id: unknown, state: 'delivered', timeoutMs: 1 })
    assert.is(await failure.catch(errorCode), 'MESSAGE_UNKNOWN')
  })
})

test('limits the calls under way on one connection', async () => {
  await connected(async (control) => {
    const wait = (): Promise<unknown> =>
      control.call('waitFor', { id, state: 'read', timeoutMs: 60_000 }).catch(errorCode)
    const calls = Array.from({ length: limits.controlCallsMax }, wait)
    assert.is(await wait(), 'CONTROL_BUSY')
    await clock.advance(60_000)
    await Promise.all(calls)
  })
})

test('streams events in order after follow, and forgets the listener with the connection', async () => {
  const seen: string[] = []
  const all = Promise.withResolvers<void>()
  await connected(async (control) => {
    await control.follow((event) => {
      if (event.type !== 'status') return
      seen.push(event.status.code ?? '')
      if (seen.length === 100) all.resolve()
    })
    for (let i = 0; i < 100; i++) {
      for (const listener of listeners) listener({ type: 'status', status: { ...queued, code: String(i) } })
    }
    await all.promise
  })
  assert.equal(seen, Array.from({ length: 100 }, (_, i) => String(i)))
  while (listeners.size > 0) await new Promise((resolve) => setImmediate(resolve))
})

test('hangs up on a reader that lets events lie', async () => {
  const socket = createConnection(await findSocketPath(dir))
  socket.write('{"id":1,"method":"follow"}\n')
  await once(socket, 'readable')
  const text = 'x'.repeat(1024 * 1024)
  for (let i = 0; i < 64 && listeners.size > 0; i++) {
    for (const listener of listeners) listener({ type: 'status', status: { ...queued, code: text } })
  }
  while (listeners.size > 0) await new Promise((resolve) => setImmediate(resolve))
  socket.destroy()
})

test('tells waiting calls when the node stops', async () => {
  const control = await ControlClient.connect(dir)
  const waiting = control.call('waitFor', { id, state: 'read', timeoutMs: 60_000 }).catch(errorCode)
  while (waits === 0) await new Promise((resolve) => setImmediate(resolve))
  await server.stop()
  assert.is(await waiting, 'NODE_STOPPED')
  await control.closed
  assert.is(await control.call('peers', {}).catch(errorCode), 'NODE_STOPPED')
})

test('stands elsewhere, privately, when the path of the data directory is too long', async () => {
  const deep = await mkdtemp(join(dir, 'x'.repeat(100)))
  const before = process.env['XDG_RUNTIME_DIR']
  process.env['XDG_RUNTIME_DIR'] = dir
  const path = await claimSocketPath(deep)
  if (before === undefined) delete process.env['XDG_RUNTIME_DIR']
  else process.env['XDG_RUNTIME_DIR'] = before
  assert.ok(Buffer.byteLength(path) <= 103)
  assert.not.ok(path.startsWith(deep))
  assert.is(await findSocketPath(deep), path)
  assert.is((await readFile(join(deep, 'control.path'), 'utf8')), path)
  assert.is((await stat(join(path, '..'))).mode & 0o777, 0o700)
  const far = new ControlServer({ node, clock, log: silentLog }, { path })
  await far.start()
  const control = await ControlClient.connect(deep)
  assert.equal(await control.call('peers', {}), [])
  control.close()
  await far.stop()
})

test.run()
