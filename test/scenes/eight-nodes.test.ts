/**
 * The main job, with eight real node processes: two people who never met a server swap an invite
 * and talk; homes and replicas are killed; messages wait at other people's nodes; everything is
 * there in the end, once and in order, and every state that was shown was true.
 */
import { readFile } from 'node:fs/promises'
import * as assert from 'uvu/assert'
import type { MessageStatus } from '../../protocol/client/api.ts'
import { CliNode, eventually } from '../helpers/cli-node.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('scenes/eight nodes', { timeoutMs: 300_000 })

/** A long plain-text document that ships in a package we depend on. */
const document = new URL('../../node_modules/abstract-level/README.md', import.meta.url)
const messageCount = 1_000

let nodes: CliNode[] = []

test.after(async () => {
  await Promise.all(nodes.map((node) => node.remove()))
})

async function startAll(): Promise<void> {
  const names = ['alice', 'bob', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6']
  nodes = await Promise.all(names.map((name) => CliNode.init(name)))
  const bootstrap: string[] = []
  for (const node of nodes) {
    const ready = await node.start(bootstrap)
    if (bootstrap.length < 2) bootstrap.push(ready.p2p[0]!)
  }
}

async function realLines(count: number): Promise<string[]> {
  const text = await readFile(document, 'utf8')
  const lines = text.split('\n').map((line) => line.trim()).filter((line) => line !== '')
  const chosen: string[] = []
  for (let i = 0; i < count; i++) chosen.push(`${i} ${lines[i % lines.length]!}`)
  return chosen
}

async function inboxTexts(node: CliNode, from: string): Promise<string[]> {
  const result = await node.run(['inbox', '--from', from, '--all'])
  assert.is(result.code, 0, result.stderr)
  const lines = result.stdout.split('\n').filter((line) => line !== '')
  return lines.map((line) => (JSON.parse(line) as { text: string }).text)
}

async function statusOf(node: CliNode): Promise<{ replicas: { have: number }, peers: { now: number } }> {
  const result = await node.run(['status'])
  assert.is(result.code, 0, result.stderr)
  return result.json as unknown as { replicas: { have: number }, peers: { now: number } }
}

test('a thousand messages survive the loss of home and of two of five replicas', async () => {
  await startAll()
  const [alice, bob] = nodes as [CliNode, CliNode]
  const byId = new Map(nodes.map((node) => [node.ready.nodeId, node]))
  for (const person of [alice, bob]) {
    await eventually(async () => (await statusOf(person)).replicas.have >= 5 || undefined, {
      withinMs: 60_000, what: `${person.name} has five replicas`,
    })
  }

  // Invite, talk.
  const invite = await alice.run(['invite'])
  assert.is(invite.code, 0, invite.stderr)
  const added = await bob.run(['add', invite.json['uri'] as string, '--name', 'alice'])
  assert.is(added.code, 0, added.stderr)
  const hello = await bob.run(['send', 'alice', 'hello alice', '--wait', 'delivered', '--timeout', '60s'])
  assert.is(hello.code, 0, hello.stderr)
  const answer = await alice.run(['send', 'bob', 'hello bob', '--wait', 'delivered', '--timeout', '60s'])
  assert.is(answer.code, 0, answer.stderr)

  // Restart of the receiver, orderly; then its home dies.
  assert.is(await bob.stop(), 0, bob.stderr)
  await bob.start([alice.ready.p2p[0]!])
  const places = await eventually(async () => {
    const control = await alice.control()
    try {
      const known = await control.call('places', { contact: 'bob' })
      return known !== null && known.replicas.length >= 5 ? known : undefined
    } finally {
      control.close()
    }
  }, { withinMs: 60_000, what: 'alice knows five replicas of bob' })
  const replicaIds = [...places.replicas]
  await bob.kill()

  // A thousand messages while home is dead.
  const texts = await realLines(messageCount)
  const control = await alice.control()
  const seen = new Map<string, MessageStatus[]>()
  await control.follow((event) => {
    if (event.type !== 'status') return
    seen.set(event.status.id, [...seen.get(event.status.id) ?? [], event.status])
  })
  const ids: MessageStatus['id'][] = []
  for (let at = 0; at < texts.length; at += 50) {
    const batch = texts.slice(at, at + 50)
    const sent = await Promise.all(batch.map((text) => control.call('send', { contact: 'bob', text })))
    for (const status of sent) {
      assert.is(status.state, 'queued')
      ids.push(status.id)
    }
  }
  for (const id of ids) {
    const status = await control.call('waitFor', { id, state: 'stored', timeoutMs: 120_000 })
    assert.is(status.state, 'stored')
    assert.ok(status.stored.have >= 3, `stored with ${status.stored.have} of ${status.stored.want}`)
    assert.is(status.route, 'replicas')
  }
  for (const history of seen.values()) {
    assert.not.ok(history.some((status) => status.state === 'delivered' || status.state === 'read'),
      'nothing is called delivered while the receiver is dead')
  }
  control.close()

  // Two of the five replicas die, the sender goes off, the receiver comes back.
  const doomed = replicaIds
    .map((id) => byId.get(id))
    .filter((node) => node !== undefined)
    .filter((node) => node !== alice)
    .slice(0, 2)
  assert.is(doomed.length, 2)
  assert.is(await alice.stop(), 0, alice.stderr)
  await Promise.all(doomed.map((node) => node.kill()))
  const alive = nodes.filter((node) => node !== alice && node !== bob && !doomed.includes(node))
  await bob.start(alive.slice(0, 2).map((node) => node.ready.p2p[0]!))
  const received = await eventually(async () => {
    const found = await inboxTexts(bob, 'alice')
    return found.length >= messageCount + 1 ? found : undefined
  }, { withinMs: 120_000, everyMs: 500, what: 'all messages are there' })
  assert.equal(received, ['hello bob', ...texts], 'zero lost, zero doubled, in order')

  // The sender comes back and learns that all was delivered.
  await alice.start(alive.slice(0, 2).map((node) => node.ready.p2p[0]!))
  const again = await alice.control()
  const last = await again.call('waitFor', {
    id: ids.at(-1)! as MessageStatus['id'], state: 'delivered', timeoutMs: 120_000,
  })
  assert.is(last.state, 'delivered')
  again.close()
})

test.run()
