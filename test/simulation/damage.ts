/**
 * One flipped bit, or one value cut short, somewhere in everything that a node keeps: what becomes
 * of it. Two people talk, one of them has a text under way to somebody who is off; the node stops,
 * one record of its store is damaged, it starts again, and all go on talking.
 *
 * Allowed is: refused with a code at the start; or found, named and set aside, with everything said
 * afterwards arriving once. Never: an error without a code, a text that nobody wrote, silence.
 */
import { errorCode } from '../../crypto/errors.ts'
import type { Log } from '../../node/ports.ts'
import { randomInteger, seededRandom } from '../helpers/seeded-random.ts'
import type { SimNode } from './world.ts'
import { World } from './world.ts'

const minute = 60_000

export interface DamageResult {
  readonly seed: number
  /** Of the damaged record. */
  readonly name: string
  readonly how: 'flipped' | 'cut'
  readonly outcome: 'refused' | 'set aside' | 'healed' | 'unread'
  /** What should not be; empty when all is well. */
  readonly problems: readonly string[]
}

interface Scene {
  readonly world: World
  readonly alice: SimNode
  readonly bob: SimNode
  readonly carol: SimNode
  /** Errors that were logged without a code. */
  readonly errors: string[]
}

/** Everything that anybody writes in a scene. */
const earlier = ['hello bob', 'hello alice', 'how are you?', 'fine']
const underWay = 'for when carol is back'
const later = ['alice again', 'bob again']

async function scene(seed: number): Promise<Scene> {
  const errors: string[] = []
  const note = (fields: object, message: string): void => {
    const { err } = fields as { err?: unknown }
    if (err !== undefined && errorCode(err) === undefined) {
      errors.push(`${message}: ${err instanceof Error ? err.stack : String(err)}`)
    }
  }
  const log: Log = { debug: note, info: note, warn: note, error: note }
  const world = new World({ seed: `damage ${seed}`, log })
  for (const name of ['s1', 's2', 's3']) world.add({ name, account: false })
  const [alice, bob, carol] = ['alice', 'bob', 'carol']
    .map((name) => world.add({ name, account: true })) as [SimNode, SimNode, SimNode]
  for (const node of world.nodes) await world.run(node.start())
  await world.clock.advance(3_000)
  for (const other of [bob, carol]) {
    const { uri } = await world.run(other.client.invite())
    await world.run(alice.client.add(uri, { name: other.name }))
  }
  await world.eventually(async () => {
    const contacts = await alice.client.contacts()
    return contacts.every(({ state }) => state === 'active') ? true : undefined
  }, { withinMs: 2 * minute, what: 'all know each other' })
  for (const [from, to, text] of [
    [alice, 'bob', earlier[0]!], [bob, 'alice', earlier[1]!],
    [alice, 'bob', earlier[2]!], [bob, 'alice', earlier[3]!],
  ] as const) {
    await world.run(from.client.send(to, text))
    await world.clock.advance(1_000)
  }
  await world.run(carol.stop())
  await world.run(alice.client.send('carol', underWay))
  await world.clock.advance(2_000)
  return { world, alice, bob, carol, errors }
}

/** @param seed chooses the record, the bit and what happens to it */
export async function runDamage(seed: number): Promise<DamageResult> {
  const { world, alice, bob, carol, errors } = await scene(seed)
  await world.run(alice.stop())
  const { name, how } = await damage(world, alice, seed)
  const problems: string[] = []
  let outcome: DamageResult['outcome'] = 'refused'
  const refusal = await world.run(alice.start().then(() => undefined, (error: unknown) => error ?? 'nothing'))
  if (refusal === undefined) {
    outcome = await goOn({ world, alice, bob, carol, errors }, name, problems)
  } else if (errorCode(refusal) === undefined) {
    problems.push(`refused without a code: ${String(refusal)}`)
  } else if (!isVital(name)) {
    problems.push(`refused to start (${errorCode(refusal)})`)
  }
  problems.push(...errors)
  if (refusal === undefined) await world.end()
  else await endWithout(world, alice)
  return { seed, name, how, outcome, problems }
}

function isVital(name: string): boolean {
  return name === 'client/account' || name.startsWith('client/own/')
}

async function damage(
  world: World,
  node: SimNode,
  seed: number,
): Promise<{ name: string, how: 'flipped' | 'cut' }> {
  const random = seededRandom(`damage of ${seed}`)
  const { kv } = node.store
  const records = await world.run(kv.list({ prefix: '' }))
  // By kind first: most records are marks and prekeys.
  const kinds = [...new Set(records.map(({ key }) => kindOf(key)))]
  const kind = kinds[randomInteger(random, kinds.length)]!
  const ofKind = records.filter(({ key }) => kindOf(key) === kind)
  const { key, value } = ofKind[randomInteger(random, ofKind.length)]!
  const isCut = randomInteger(random, 4) === 0
  const changed = isCut ? value.slice(0, randomInteger(random, value.length)) : value.slice()
  if (!isCut) changed[randomInteger(random, changed.length)]! ^= 1 << randomInteger(random, 8)
  await world.run(kv.write([{ type: 'put', key, value: changed }]))
  return { name: key, how: isCut ? 'cut' : 'flipped' }
}

function kindOf(key: string): string {
  return key.split('/').slice(0, key.startsWith('client/') || key.startsWith('location/') ? 2 : 1).join('/')
}

/** The node started: what is said from now on arrives, and what was damaged is named. */
async function goOn(
  { world, alice, bob, carol }: Scene,
  name: string,
  problems: string[],
): Promise<'set aside' | 'healed' | 'unread'> {
  await world.run(carol.start())
  await world.clock.advance(2_000)
  const contacts = (await alice.client.contacts()).map((contact) => contact.name)
  const knowsBob = contacts.includes('bob')
  if (knowsBob) {
    await world.run(alice.client.send('bob', later[0]!))
    await world.run(bob.client.send('alice', later[1]!))
    await arrives({ world, node: bob, text: later[0]! }, problems)
    await arrives({ world, node: alice, text: later[1]! }, problems)
  } else if (!name.startsWith('client/contact/')) {
    problems.push('a contact is gone')
  }
  if (contacts.includes('carol')) await settles({ world, alice, carol }, problems)
  // To read may mean to set aside, and that takes time.
  for (const node of [alice, bob, carol]) await world.run(checkHistory(node, problems))
  const damaged = await world.run(alice.damaged())
  if (damaged.includes(name)) return 'set aside'
  if (damaged.length > 0) problems.push(`something else is named: ${damaged.join(', ')}`)
  const now = await world.run(alice.store.kv.get(name))
  return now === undefined ? 'healed' : 'unread'
}

async function arrives(
  { world, node, text }: { world: World, node: SimNode, text: string },
  problems: string[],
): Promise<void> {
  const seen = async (): Promise<true | undefined> =>
    ((await incoming(node)).includes(text) ? true : undefined)
  await world.eventually(seen, { withinMs: 60 * minute, everyMs: 2_000, what: text })
    .catch(() => problems.push(`${node.name} never got "${text}"`))
}

/** The text that was under way arrives, or its sender is told that it did not. */
async function settles(
  { world, alice, carol }: Pick<Scene, 'world' | 'alice' | 'carol'>,
  problems: string[],
): Promise<void> {
  await world.eventually(async () => {
    if ((await incoming(carol)).includes(underWay)) return true
    const history = await alice.client.history({ contact: 'carol', direction: 'out' })
    const entry = history.find(({ text }) => text === underWay)
    return entry === undefined || entry.status?.state === 'failed' ? true : undefined
  }, { withinMs: 60 * minute, everyMs: 2_000, what: underWay })
    .catch(() => problems.push(`"${underWay}" is lost without a word`))
}

async function incoming(node: SimNode): Promise<string[]> {
  return (await node.client.history({ direction: 'in' })).map(({ text }) => text)
}

/** Nothing that nobody wrote, nothing twice. */
async function checkHistory(node: SimNode, problems: string[]): Promise<void> {
  const texts = (await node.client.history({})).map(({ text }) => text).filter((text) => text !== '')
  const known = [...earlier, underWay, ...later]
  for (const text of texts) if (!known.includes(text)) problems.push(`${node.name} shows "${text}"`)
  const isTwice = new Set(texts).size !== texts.length
  if (isTwice) problems.push(`${node.name} shows a text twice: ${texts.join(' | ')}`)
}

async function endWithout(world: World, dead: SimNode): Promise<void> {
  dead.crash()
  const others = world.nodes.filter((node) => node !== dead && node.isRunning)
  for (const node of others) await world.run(node.stop(), 2 * minute)
}
