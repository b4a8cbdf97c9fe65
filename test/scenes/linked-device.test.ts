/**
 * A second device, with real processes: linked by its code over TCP, it gets what was said before
 * and everything since, sends in the name of its account, survives power cuts and days off, and is
 * out for good when it is put out. The contact on the other node notices nothing of all this.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { ControlClient } from '../../cli/control-client.ts'
import type { HistoryEntry } from '../../protocol/client/api.ts'
import { beginLinking, linkDevice, LinkCommand } from '../helpers/cli-link.ts'
import { CliNode, eventually } from '../helpers/cli-node.ts'
import type { CliResult } from '../helpers/cli-node.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('scenes/linked-device', { timeoutMs: 300_000 })

let nodes: CliNode[] = []
test.after.each(async () => {
  await Promise.all(nodes.map((node) => node.remove()))
  nodes = []
})

async function made(node: Promise<CliNode>): Promise<CliNode> {
  nodes.push(await node)
  return await node
}

function must(result: CliResult): CliResult {
  assert.is(result.code, 0, result.stderr)
  return result
}

async function withControl<T>(node: CliNode, work: (control: ControlClient) => Promise<T>): Promise<T> {
  const control = await node.control()
  try {
    return await work(control)
  } finally {
    control.close()
  }
}

/** In the order of this device's history. */
function history(node: CliNode): Promise<HistoryEntry[]> {
  return withControl(node, (control) => control.call('history', { limit: 1_000 }))
}

async function said(node: CliNode, direction: 'in' | 'out'): Promise<string[]> {
  return (await history(node)).filter((entry) => entry.direction === direction).map(({ text }) => text)
}

function sendAll(node: CliNode, contact: string, texts: readonly string[]): Promise<void> {
  return withControl(node, async (control) => {
    for (const text of texts) await control.call('send', { contact, text })
  })
}

async function untilSaid(node: CliNode, direction: 'in' | 'out', texts: readonly string[]): Promise<void> {
  const isThere = async (): Promise<true | undefined> => {
    const known = new Set(await said(node, direction))
    return texts.every((text) => known.has(text)) ? true : undefined
  }
  const what = `${node.name} has ${direction} ${texts[0]} to ${texts.at(-1)}`
  await eventually(isThere, { withinMs: 90_000, everyMs: 200, what })
}

function numbered(what: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${what} ${i + 1}`)
}

/** Alice and Bob know each other. */
async function friends(): Promise<{ alice: CliNode, bob: CliNode }> {
  const [alice, bob] = [await made(CliNode.init('alice')), await made(CliNode.init('bob'))]
  const { p2p } = await alice.start()
  await bob.start(p2p)
  const { json: { uri } } = must(await alice.run(['invite']))
  must(await bob.run(['add', String(uri)]))
  must(await bob.run(['send', 'alice', 'hello', '--wait', 'delivered', '--timeout', '60s']))
  return { alice, bob }
}

test('a device comes, lives through everything, and goes', async () => {
  const { alice, bob } = await friends()
  await sendAll(bob, 'alice', numbered('before', 5))
  await sendAll(alice, 'bob', numbered('answer', 5))
  await untilSaid(alice, 'in', numbered('before', 5))

  const laptop = await made(CliNode.empty('laptop'))
  const { shown } = await linkDevice(alice, laptop)
  assert.is(shown.link.digits, shown.join.digits)
  assert.equal(shown.link.pictures, shown.join.pictures)
  assert.is(shown.link.device, 'laptop')
  assert.is(shown.join.account, 'alice')
  const { address } = await laptop.startDevice()
  assert.is(address, alice.ready.address)

  // What was said before.
  await untilSaid(laptop, 'in', ['hello', ...numbered('before', 5)])
  await untilSaid(laptop, 'out', numbered('answer', 5))

  // Both get everything, in order.
  const live = numbered('live', 10)
  await sendAll(bob, 'alice', live)
  for (const device of [alice, laptop]) {
    await untilSaid(device, 'in', live)
    assert.equal((await said(device, 'in')).filter((text) => text.startsWith('live')), live, device.name)
  }

  // It speaks for its account.
  must(await laptop.run(['send', 'bob', 'from the laptop', '--wait', 'delivered', '--timeout', '60s']))
  await untilSaid(alice, 'out', ['from the laptop'])

  // Power off in the middle, in both directions.
  const [storm, own] = [numbered('storm', 30), numbered('own', 10)]
  const storming = sendAll(bob, 'alice', storm)
  await sendAll(laptop, 'bob', own)
  await laptop.kill()
  await storming
  await laptop.startDevice()
  await untilSaid(laptop, 'in', storm)
  await untilSaid(bob, 'in', own)

  // Off while much is said.
  assert.is(await laptop.stop(), 0)
  const missed = numbered('missed', 200)
  await sendAll(bob, 'alice', missed)
  await untilSaid(alice, 'in', missed)
  await laptop.startDevice()
  await untilSaid(laptop, 'in', missed)
  const atAlice = (await said(alice, 'in')).sort()
  assert.equal((await said(laptop, 'in')).sort(), atAlice, 'all of it, each once')
  assert.is(new Set(atAlice).size, atAlice.length)
  assert.is((await said(bob, 'in')).filter((text) => text === 'from the laptop').length, 1)

  await putOut({ alice, bob, laptop })
})

async function putOut({ alice, bob, laptop }: Record<'alice' | 'bob' | 'laptop', CliNode>): Promise<void> {
  must(await alice.run(['invite']))
  const out = must(await alice.run(['unlink', 'laptop', '--yes']))
  assert.ok(Number(out.json['invitesEnded']) >= 1)
  const isRevoked = async (): Promise<true | undefined> =>
    ((await laptop.run(['status'])).json['standing'] === 'revoked' ? true : undefined)
  await eventually(isRevoked, { withinMs: 30_000, what: 'the laptop is thrown out' })
  const refused = await laptop.run(['send', 'bob', 'still me'])
  assert.is(refused.code, 3)
  assert.match(refused.stderr, /was removed from its account/)
  assert.is((await laptop.run(['doctor'])).code, 8)
  assert.match(laptop.stderr, /was removed from its account/)

  // It stays out, and keeps what it has.
  assert.is(await laptop.stop(), 0)
  await laptop.startDevice()
  assert.is((await laptop.run(['status'])).json['standing'], 'revoked')
  assert.ok((await said(laptop, 'in')).includes('missed 200'))

  const after = numbered('after', 5)
  await sendAll(bob, 'alice', after)
  await untilSaid(alice, 'in', after)
  must(await bob.run(['send', 'alice', 'seen', '--wait', 'delivered', '--timeout', '60s']))
  assert.not((await said(laptop, 'in')).includes('after 1'))
  const known = must(await bob.run(['contacts'])).json as { contacts: { trust: string, alarm?: string }[] }
  const [alices] = known.contacts
  assert.equal([known.contacts.length, alices?.trust, alices?.alarm], [1, 'invite', undefined])
  const listed = must(await alice.run(['devices'])).json as { devices: { primary: boolean }[] }
  assert.equal(listed.devices.map(({ primary }) => primary), [true])
}

test('nothing half-made stays when a person says no, gives up, or comes too late', async () => {
  const alice = await made(CliNode.init('alice'))
  await alice.start()
  const laptop = await made(CliNode.empty('laptop'))
  const left = async (): Promise<string[]> => await readdir(laptop.dataDir)

  // The old device's person sees other digits.
  const differing = await beginLinking(alice, laptop)
  differing.join.answer(differing.shown.link.digits)
  differing.link.answer('000000')
  assert.equal(await Promise.all([differing.link.end(), differing.join.end()]), [5, 5])
  assert.equal(await left(), [])

  // Ctrl-C at the new device, then at the old one.
  const leaving = await beginLinking(alice, laptop)
  leaving.join.interrupt()
  assert.equal(await Promise.all([leaving.join.end(), leaving.link.end()]), [130, 3])
  const stopping = await beginLinking(alice, laptop)
  stopping.link.interrupt()
  assert.equal(await Promise.all([stopping.link.end(), stopping.join.end()]), [130, 3])
  assert.equal(await left(), [])

  // Nobody compares.
  const silent = await beginLinking(alice, laptop)
  silent.link.hangUp()
  assert.equal(await Promise.all([silent.link.end(), silent.join.end()]), [2, 3])
  assert.match(silent.link.stderr, /nobody compared the digits/)

  // A code is good once, and a newer one ends it.
  const late = new LinkCommand(['join', silent.code, '--data', laptop.dataDir])
  assert.is(await late.end(), 2)
  assert.match(late.stderr, /used up, too old/)
  const first = new LinkCommand(['link', '--data', alice.dataDir])
  await first.line()
  const { link } = await linkDevice(alice, laptop)
  assert.is(await first.end(), 3)
  assert.match(first.stderr, /a newer link code/)
  assert.is(link.stderr, '')
  assert.equal((await left()).sort(), ['home.json', 'keys.bin', 'store'].sort())
  assert.is(await runJoinAgain(laptop, silent.code), 2)
  assert.ok((await readdir(join(laptop.dataDir, 'store'))).length > 0)
})

async function runJoinAgain(laptop: CliNode, code: string): Promise<number | null> {
  const again = await laptop.run(['join', code])
  assert.match(again.stderr, /already an identity/)
  return again.code
}

test.run()
