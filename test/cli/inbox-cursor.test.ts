/** Each message once per reading position, however one reads: together, alone, or by turns. */
import * as assert from 'uvu/assert'
import type { ControlClient } from '../../cli/control-client.ts'
import { InboxCursor } from '../../cli/inbox-cursor.ts'
import type { HistoryQuery } from '../../node/control/control-protocol.ts'
import type { HistoryEntry } from '../../protocol/client/api.ts'
import type { MessageId } from '../../protocol/ids.ts'
import { suite } from '../helpers/harness.ts'
import { randomChoice, randomInteger, seededRandom } from '../helpers/seeded-random.ts'

const test = suite('cli/inbox-cursor')

const addresses = { ann: `oim1q${'a'.repeat(58)}`, bob: `oim1q${'b'.repeat(58)}` } as const
type Person = keyof typeof addresses
const people = Object.keys(addresses) as Person[]

/** History and cursors as the node has them. */
class Node {
  readonly entries: HistoryEntry[] = []
  readonly cursors = new Map<string, number>()

  arrive(contact: Person): void {
    const cursor = this.entries.length + 1
    const id = String(cursor) as MessageId
    this.entries.push({ cursor, id, contact, direction: 'in', text: '', sentAtMs: 0, receivedAtMs: 0 })
  }

  async call(method: string, params: HistoryQuery & { name?: string, position?: number }): Promise<unknown> {
    switch (method) {
      case 'contacts': return people.map((name) => ({ name, address: addresses[name] }))
      case 'cursor': return this.cursors.get(params.name!) ?? 0
      case 'setCursor': return void this.cursors.set(params.name!, params.position!)
      case 'history': {
        const { after = 0, limit = 1_000, contact } = params
        const wanted = contact === undefined ? undefined : people.find((name) => addresses[name] === contact)
        const later = this.entries.filter((entry) => entry.cursor > after)
        return later.filter((entry) => wanted === undefined || entry.contact === wanted).slice(0, limit)
      }
      default: throw new Error(method)
    }
  }

  async read(from?: Person, name = 'cli'): Promise<string[]> {
    const address = from === undefined ? undefined : addresses[from]
    const cursor = await InboxCursor.open(this as unknown as ControlClient, { name, from: address })
    const seen: string[] = []
    for (;;) {
      const { entries, upTo, end } = await cursor.page()
      seen.push(...entries.map((entry) => entry.id))
      await cursor.advance(upTo)
      if (end) return seen
    }
  }
}

test('shows each message once, in order', async () => {
  const node = new Node()
  for (let i = 0; i < 250; i++) node.arrive('ann')
  assert.equal(await node.read(), node.entries.map((entry) => entry.id))
  assert.equal(await node.read(), [])
})

test('does not hide the others when one contact is read alone', async () => {
  const node = new Node()
  node.arrive('ann')
  node.arrive('bob')
  node.arrive('ann')
  assert.equal(await node.read('ann'), ['1', '3'])
  assert.equal(await node.read('ann'), [])
  assert.equal(await node.read(), ['2'])
  assert.equal(await node.read('bob'), [])
})

test('keeps positions of different names apart', async () => {
  const node = new Node()
  node.arrive('bob')
  assert.equal(await node.read(undefined, 'bot'), ['1'])
  assert.equal(await node.read(), ['1'])
})

test('names its positions within what a node takes', async () => {
  const node = new Node()
  node.arrive('bob')
  await node.read('bob', 'n'.repeat(32))
  for (const name of node.cursors.keys()) assert.ok(name.length <= 64, name)
})

test('shows everything exactly once, whatever the turns', async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = seededRandom(seed)
    const node = new Node()
    const seen: string[] = []
    for (let turn = 0; turn < 60; turn++) {
      for (let i = randomInteger(random, 12); i > 0; i--) node.arrive(randomChoice(random, people))
      seen.push(...await node.read(randomChoice(random, [undefined, ...people])))
    }
    seen.push(...await node.read())
    const each = [...seen].sort((a, b) => Number(a) - Number(b))
    assert.equal(each, node.entries.map((entry) => entry.id), `seed ${seed}`)
  }
})

test.run()
