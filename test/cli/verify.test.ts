/**
 * `openim verify` on a terminal: the number as digits and QR code, and the question. What scripts
 * see is in transcripts/verify.txt.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import * as assert from 'uvu/assert'
import { run } from '../../cli/commands/verify.ts'
import type { CommandContext } from '../../cli/context.ts'
import { Terminal } from '../../cli/terminal.ts'
import { hexDecode } from '../../crypto/bytes.ts'
import { claimSocketPath } from '../../node/control/control-path.ts'
import { ControlServer } from '../../node/control/control-server.ts'
import type { ControlledNode } from '../../node/control/control-protocol.ts'
import { silentLog } from '../../node/ports.ts'
import type { Contact, SessionSecrecy } from '../../protocol/client/api.ts'
import type { DeviceId } from '../../protocol/ids.ts'
import { formatSafetyCode } from '../../protocol/safety-code.ts'
import { suite } from '../helpers/harness.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'

const test = suite('cli/verify')

const bob: Contact = {
  name: 'bob', address: `oim1q${'b'.repeat(58)}`, trust: 'changed', alarm: 'DEVICE_LIST_FORK',
  state: 'active', addedAtMs: 0,
}
const number = {
  digits: Array.from({ length: 12 }, (_, i) => String(11_111 * (i % 9 + 1))),
  code: formatSafetyCode(hexDecode(`01${'ab'.repeat(64)}`)),
}
const session = (weakForwardSecrecy: boolean, pqAgeSteps: number): SessionSecrecy =>
  ({ device: 'd'.repeat(32) as DeviceId, weakForwardSecrecy, pqAgeSteps })

interface Outcome {
  readonly code: string
  readonly stdout: string
  readonly stderr: string
  readonly asked: readonly string[]
}

async function verify(typed: string, sessions: SessionSecrecy[] = []): Promise<Outcome> {
  const dir = await mkdtemp(join(tmpdir(), 'openim-verify-'))
  const asked: string[] = []
  const client = {
    contact: async () => bob,
    safetyNumber: async () => ({ ...number, sessions }),
    markVerified: async (contact: string) => {
      asked.push(contact)
      return { ...bob, trust: 'verified' }
    },
    on: () => () => {},
  }
  const node = { client } as unknown as ControlledNode
  const clock = new VirtualClock()
  const server = new ControlServer({ node, clock, log: silentLog }, { path: await claimSocketPath(dir) })
  await server.start()
  const screen = (): PassThrough => Object.assign(new PassThrough(), { isTTY: true })
  const [stdin, stdout, stderr] = [screen(), screen(), screen()]
  const text = { stdout: '', stderr: '' }
  stdout.setEncoding('utf8').on('data', (chunk: string) => { text.stdout += chunk })
  stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text.stderr += chunk
    if (text.stderr.endsWith('[yes/no/later] ')) stdin.write(`${typed}\r`)
  })
  const terminal = new Terminal({ stdin, stdout, stderr }, { json: false, colour: false, env: {} })
  const context = {
    args: ['bob'], options: {}, paths: { dataDir: dir }, env: {}, terminal, clock, openim: 'openim',
  } as unknown as CommandContext
  try {
    const code = await run(context).then(() => 'done', (error: { code: string }) => error.code)
    return { code, ...text, asked }
  } finally {
    await server.stop()
    await rm(dir, { recursive: true, force: true })
  }
}

test('shows 12 groups, the alarm, and a QR code that fits the screen beside its words', async () => {
  const { stdout, stderr } = await verify('')
  assert.is(stdout, '11111 22222 33333 44444\n55555 66666 77777 88888\n99999 11111 22222 33333\n')
  assert.match(stderr, /^bob {2}CHANGED\n! two different device lists .*\(DEVICE_LIST_FORK\)\n/)
  const drawn = stderr.split('\n').filter((line) => /[█▀▄]/.test(line))
  assert.ok(drawn.length >= 20 && drawn.length <= 22, `${drawn.length} rows`)
  assert.ok(drawn.every((line) => line.length <= 80), 'fits 80 columns')
})

test('says when sessions began without one-time keys or lack a fresh post-quantum one', async () => {
  const said = async (...sessions: SessionSecrecy[]): Promise<string[]> =>
    (await verify('', sessions)).stderr.split('\n').filter((line) => /begun|post-quantum/.test(line))
  assert.equal(await said(), [])
  assert.equal(await said(session(false, 15), session(false, 0)), [])
  assert.equal(await said(session(false, 15), session(true, 0)), [
    '! begun while one-time keys had run out: safe from later theft once both have answered',
  ])
  assert.equal(await said(session(false, 3), session(false, 17)), [
    'Newest post-quantum key: 17 changes of speaker ago',
  ])
})

test('yes makes them verified, no is an alarm, anything else says nothing', async () => {
  const yes = await verify('yes')
  assert.is(yes.code, 'done')
  assert.equal(yes.asked, [bob.address])
  assert.match(yes.stderr, '✓ bob: verified')
  const no = await verify('n')
  assert.is(no.code, 'SAFETY_NUMBER_MISMATCH')
  assert.equal(no.asked, [])
  for (const typed of ['', 'later', 'perhaps']) {
    const other = await verify(typed)
    assert.is(other.code, 'done')
    assert.equal(other.asked, [])
  }
})

test.run()
