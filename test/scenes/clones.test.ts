/**
 * One identity in two places, with real processes: a data directory that was copied and started
 * twice, and a backup that was restored while the old node still runs. Both find out, nobody reads
 * anything wrong, and the one that the person keeps goes on.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { CliNode, eventually, runCli } from '../helpers/cli-node.ts'
import type { CliResult } from '../helpers/cli-node.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('scenes/clones', { timeoutMs: 300_000 })

/** Two nodes with the ports of one cannot both be on this machine. */
const otherDoors = ['--tcp-listen', '127.0.0.1:0', '--udp-listen', '127.0.0.1:0']

let dir = ''
let nodes: CliNode[] = []
test.before.each(async () => { dir = await mkdtemp(join(tmpdir(), 'openim-clones-')) })
test.after.each(async () => {
  await Promise.all(nodes.map((node) => node.remove()))
  nodes = []
  await rm(dir, { recursive: true, force: true })
})

function must(result: CliResult): CliResult {
  assert.is(result.code, 0, result.stderr)
  return result
}

/** Holders of records and mail, two people who know each other, and where to meet. */
async function town(): Promise<{ alice: CliNode, bob: CliNode, meet: string[] }> {
  const [alice, bob, ...others] = await Promise.all(
    ['alice', 'bob', 'c1', 'c2', 'c3'].map((name) => CliNode.init(name)),
  ) as [CliNode, CliNode, ...CliNode[]]
  nodes.push(alice, bob, ...others)
  const meet: string[] = []
  for (const node of [...others, bob, alice]) {
    const { p2p } = await node.start(meet)
    if (meet.length < 2) meet.push(p2p[0]!)
  }
  const { json: { uri } } = must(await bob.run(['invite']))
  must(await alice.run(['add', String(uri)]))
  await eventually(async () => {
    const { contacts } = must(await alice.run(['contacts'])).json as { contacts: { state: string }[] }
    return contacts[0]?.state === 'active' ? true : undefined
  }, { withinMs: 60_000, what: 'the invite is answered' })
  await say(alice, 'bob', 'hello')
  await say(bob, 'alice', 'hello yourself')
  return { alice, bob, meet }
}

async function say(from: CliNode, to: string, text: string): Promise<void> {
  const sent = await from.run(['send', to, text, '--wait', 'delivered', '--timeout', '90s'])
  assert.is(sent.code, 0, `${from.name} to ${to}, ${text}: ${sent.stdout}${sent.stderr}`)
}

interface Shown {
  readonly text: string
  readonly afterGap?: boolean
}

async function inbox(node: CliNode): Promise<Shown[]> {
  const { stdout } = must(await node.run(['inbox', '--all']))
  const lines = stdout.split('\n').filter((line) => line !== '')
  return lines.map((line) => JSON.parse(line) as Shown)
}

async function texts(node: CliNode): Promise<string[]> {
  return (await inbox(node)).map(({ text }) => text)
}

/** All texts, once this one is among them: one that came early waits for those before it. */
async function shownAt(node: CliNode, text: string): Promise<string[]> {
  return await eventually(async () => {
    const shown = await texts(node)
    return shown.includes(text) ? shown : undefined
  }, { withinMs: 90_000, what: `${node.name} is shown "${text}"` })
}

/** What the doctor says about the account. */
async function account(node: CliNode): Promise<string> {
  const { json } = await node.run(['doctor'])
  const checks = (json as { checks: { name: string, detail: string }[] }).checks
  return checks.find((check) => check.name === 'account')?.detail ?? ''
}

async function untilAccount(node: CliNode, code: string): Promise<void> {
  await eventually(async () => ((await account(node)).includes(code) ? true : undefined), {
    withinMs: 90_000, everyMs: 500, what: `${node.name} is found to be ${code}`,
  })
}

test('a copied data directory is found out on both sides, and one of them goes on', async () => {
  const { alice, bob, meet } = await town()
  await alice.stop()
  const clone = await CliNode.copyOf(alice)
  nodes.push(clone)
  await alice.start(meet)
  await clone.start(meet, otherDoors)
  // Both write before anybody has noticed.
  await alice.run(['send', 'bob', 'from the one'])
  await clone.run(['send', 'bob', 'from the other'])
  await untilAccount(clone, 'ACCOUNT_CLONED')
  await untilAccount(alice, 'ACCOUNT_CLONED')
  for (const node of [alice, clone]) {
    const refused = await node.run(['send', 'bob', 'after all'])
    assert.is(refused.code, 3)
    assert.match(refused.stderr, /also runs in another place[\s\S]*devices renew/)
  }

  await alice.stop()
  must(await alice.run(['devices', 'renew']))
  await alice.start(meet)
  await untilAccount(alice, 'logged in')
  await untilAccount(clone, 'ACCOUNT_RETIRED')
  await say(bob, 'alice', 'which one are you?')
  await say(alice, 'bob', 'the one that stays')
  await shownAt(alice, 'which one are you?')
  // What the new device says again comes first in its order, and may come later on its way.
  const atBob = await shownAt(bob, 'the one that stays')
  const written = ['hello', 'from the one', 'from the other', 'the one that stays']
  assert.equal(atBob.filter((text) => !written.includes(text)), [], 'nothing wrong, nothing refused')
  assert.is(new Set(atBob).size, atBob.length, 'nothing twice')

  await clone.stop()
  const again = await runCli(['start', '--data', clone.dataDir])
  assert.is(again.code, 3)
  assert.match(again.stderr, /another device has taken the place of this one/)
})

test('a restored backup takes the place of a node that still runs', async () => {
  const { alice, bob, meet } = await town()
  const secret = join(dir, 'secret')
  await writeFile(secret, 'a secret\n')
  await alice.stop()
  const file = join(dir, 'alice.backup')
  must(await alice.run(['backup', 'create', file, '--passphrase-file', secret]))
  await alice.start(meet)
  await say(bob, 'alice', 'only the old one reads this')

  const restored = await CliNode.empty('alice')
  nodes.push(restored)
  must(await restored.run(['backup', 'restore', file, '--passphrase-file', secret]))
  await restored.start(meet, otherDoors)
  await untilAccount(restored, 'logged in')
  await untilAccount(alice, 'ACCOUNT_RETIRED')
  await say(restored, 'bob', 'I am back')
  await say(bob, 'alice', 'welcome')
  // What only the old one has is missed: it was the message before this one.
  const shown = await eventually(async () => {
    const entries = await inbox(restored)
    return entries.length === 2 ? entries : undefined
  }, { withinMs: 120_000, what: 'the text after the gap is shown' })
  assert.equal(shown.map(({ text, afterGap }) => [text, afterGap]), [
    ['hello yourself', undefined], ['welcome', true],
  ])
  await shownAt(bob, 'I am back')
  const { contacts } = must(await bob.run(['contacts'])).json as { contacts: { trust: string }[] }
  assert.equal(contacts.map(({ trust }) => trust), ['invite'], 'no alarm')
})

test.run()
