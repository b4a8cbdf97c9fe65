/**
 * How commands end: bugs with a report and without a stack, signals with their codes, colour and
 * talk only where they belong. The node behind the socket is a small one of this test.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import * as assert from 'uvu/assert'
import { Terminal } from '../../cli/terminal.ts'
import { claimSocketPath } from '../../node/control/control-path.ts'
import type { ControlledNode } from '../../node/control/control-protocol.ts'
import { ControlServer } from '../../node/control/control-server.ts'
import { silentLog } from '../../node/ports.ts'
import type { ClientApi, HistoryEntry } from '../../protocol/client/api.ts'
import type { MessageId } from '../../protocol/ids.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { runCli } from '../helpers/cli-node.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('cli/main')
const cliPath = new URL('../../cli/openim.ts', import.meta.url).pathname

const id = 'ab'.repeat(16) as MessageId
const entry: HistoryEntry = {
  cursor: 1, id, contact: 'bob', direction: 'in', text: 'hi', sentAtMs: 0, receivedAtMs: 0,
}
let follows = Promise.withResolvers<void>()
const client = {
  cursor: async () => 0,
  setCursor: async () => {},
  markRead: async () => {},
  contacts: async () => [],
  history: async ({ after = 0 }) => (after === 0 ? [entry] : []),
  unreadable: async () => [],
  send: async () => { throw new TypeError('Cannot read properties of undefined') },
  on: () => {
    follows.resolve()
    return () => {}
  },
} as unknown as ClientApi

let dir = ''
let server: ControlServer
test.before.each(async () => {
  dir = await mkdtemp(join(tmpdir(), 'openim-main-'))
  follows = Promise.withResolvers<void>()
  const node = { client } as unknown as ControlledNode
  const path = await claimSocketPath(dir)
  server = new ControlServer({ node, clock: systemClock, log: silentLog }, { path })
  await server.start()
})
test.after.each(async () => {
  await server.stop()
  await rm(dir, { recursive: true, force: true })
})

test('a bug ends with exit 1, one line, and a report without what was typed', async () => {
  const { code, stdout, stderr } = await runCli(['send', 'bob', 'my secret', '--data', dir])
  assert.is(code, 1)
  assert.is(stdout, '')
  assert.match(stderr, /^openim: something went wrong that should not: [^\n]+\n[^\n]+\n$/)
  assert.match(stderr, 'Cannot read properties of undefined')
  const [name] = await readdir(join(dir, 'reports'))
  assert.match(stderr, name!)
  const report = await readFile(join(dir, 'reports', name!), 'utf8')
  assert.match(report, /^openim \d+\.\d+\.\d+ send\n/)
  assert.match(report, / at /)
  assert.not.match(report, 'my secret')
})

test('the stack is shown when asked for', async () => {
  const { stderr } = await runCli(['send', 'bob', 'hi', '--data', dir, '--verbose'])
  assert.match(stderr, /\n {4}at /)
})

test('a command without tidying up ends with 130 on Ctrl-C, a following one too', async () => {
  const child = spawn(process.execPath, [cliPath, 'inbox', '--follow', '--json', '--data', dir])
  const lines: string[] = []
  child.stdout.setEncoding('utf8').on('data', (text: string) => { lines.push(text) })
  await follows.promise
  while (lines.length === 0) await new Promise((resolve) => setImmediate(resolve))
  child.kill('SIGINT')
  const [code] = await once(child, 'close') as [number]
  assert.is(code, 130)
  assert.is((JSON.parse(lines.join('')) as { text: string }).text, 'hi')
})

test('following ends with exit 3 when the node stops', async () => {
  const running = runCli(['inbox', '--follow', '--data', dir])
  await follows.promise
  await server.stop()
  const { code, stderr } = await running
  assert.is(code, 3)
  assert.match(stderr, /^openim: the node stopped[^\n]*\nStart it again with: openim start\n$/, stderr)
})

test('a reader that has enough is no error', async () => {
  const child = spawn('sh', ['-c', `'${process.execPath}' '${cliPath}' inbox --all --data '${dir}' | true`])
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  await once(child, 'close')
  assert.is(stderr, '')
})

interface Setting {
  readonly json?: boolean
  readonly colour?: boolean
  readonly isTTY?: boolean
  readonly env?: Record<string, string>
}

type Streams = Record<'stdin' | 'stdout' | 'stderr', PassThrough>

function terminal(options: Setting): { streams: Streams, terminal: Terminal } {
  const { json = false, colour = true, isTTY = true, env = {} } = options
  const stream = (): PassThrough & { isTTY: boolean } => Object.assign(new PassThrough(), { isTTY })
  const streams = { stdin: stream(), stdout: stream(), stderr: stream() }
  return { streams, terminal: new Terminal(streams, { json, colour, env }) }
}

test('colours only on a terminal that wants them', () => {
  const coloured = (options: Setting): boolean => terminal(options).terminal.style('bad', 'x') !== 'x'
  assert.ok(coloured({}))
  assert.not.ok(coloured({ isTTY: false }))
  assert.not.ok(coloured({ colour: false }))
  assert.not.ok(coloured({ env: { NO_COLOR: '1' } }))
  assert.not.ok(coloured({ env: { TERM: 'dumb' } }))
})

test('keeps quiet with --json, but for errors and warnings', () => {
  const { terminal: quiet, streams } = terminal({ json: true, isTTY: false })
  quiet.say('talk')
  assert.is(streams.stderr.read(), null)
  quiet.fail('what', 'hint')
  assert.is(String(streams.stderr.read()), 'openim: what\nhint\n')
})

test.run()
