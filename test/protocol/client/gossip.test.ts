/** Heads of device lists, told in band: forks, lists held back and rollbacks are noticed (DESIGN §3). */
import * as assert from 'uvu/assert'
import { hex } from '../../../crypto/bytes.ts'
import { crypto } from '../../../crypto/index.ts'
import type { Random } from '../../../crypto/random.ts'
import { certifyDevice, createDeviceList, deviceId, verifyDeviceList } from '../../../protocol/account.ts'
import type { DeviceCertificate, VerifiedDeviceList } from '../../../protocol/account.ts'
import { readAccount } from '../../../protocol/client/account-state.ts'
import type { ClientEvent } from '../../../protocol/client/api.ts'
import { Batch } from '../../../protocol/client/batch.ts'
import type { ContactBook } from '../../../protocol/client/contact-book.ts'
import { silentClientLog } from '../../../protocol/client/context.ts'
import type { Context } from '../../../protocol/client/context.ts'
import { Gossip } from '../../../protocol/client/gossip.ts'
import { keys } from '../../../protocol/client/keys.ts'
import { ownCodec } from '../../../protocol/client/own-devices.ts'
import { contactCodec } from '../../../protocol/client/records.ts'
import type { ContactRecord } from '../../../protocol/client/records.ts'
import type { Turn } from '../../../protocol/client/turns.ts'
import { decode, encode } from '../../../protocol/codec/struct.ts'
import { limits } from '../../../protocol/limits.ts'
import { sealContent } from '../../../protocol/message/content.ts'
import { sealMessage } from '../../../protocol/message/sealed.ts'
import type { MessageId } from '../../../protocol/ids.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'

const test = suite('protocol/client/gossip', { timeoutMs: 30_000 })

type Records = { key: string, value: Uint8Array }[]

async function record(person: Person): Promise<ContactRecord> {
  const entries = await person.store.kv.list({ prefix: 'contact/' })
  return entries.map(({ value }) => decode(contactCodec, value)).find(({ name }) => name !== '')!
}

/** Changes what a person has on disk while the process is down. */
async function edit(world: World, person: Person, change: (records: Records) => Records): Promise<void> {
  await world.run(person.restore(change(await person.backup())))
}

function editContact(change: (contact: ContactRecord) => ContactRecord): (records: Records) => Records {
  return (records) => records.map(({ key, value }) => {
    if (!key.startsWith('contact/')) return { key, value }
    const contact = decode(contactCodec, value)
    return { key, value: contact.name === '' ? value : encode(contactCodec, change(contact)) }
  })
}

/** Lists that Alice's root key signs: what she could make, and whoever else has her key. */
class Root {
  readonly #keys
  readonly #random: Random
  readonly own: VerifiedDeviceList

  private constructor(seed: Uint8Array, own: VerifiedDeviceList) {
    this.#keys = crypto.signingKeyPair(seed)
    this.#random = seededRandom(`root ${hex(own.hash)}`)
    this.own = own
  }

  static async of(person: Person): Promise<Root> {
    const account = (await readAccount(person.store.kv))!
    const entry = await person.store.kv.get(keys.own)
    const list = verifyDeviceList(decode(ownCodec, entry!.value).deviceList, account.rootKey)
    return new Root(account.rootSeed!, list.ok ? list.value : undefined!)
  }

  /** A device that Alice knows nothing of. */
  ghost(): DeviceCertificate {
    return certifyDevice({
      rootKey: this.#keys.publicKey,
      signingKeys: crypto.signingKeyPair(this.#random.bytes(32)),
      dhKey: crypto.dhKeyPair(this.#random.bytes(32)).publicKey,
      addedHour: 1,
    })
  }

  list(devices: readonly DeviceCertificate[], previous?: VerifiedDeviceList): VerifiedDeviceList {
    const chain = previous === undefined ? {} : { previous }
    return createDeviceList({ rootKeys: this.#keys, devices, ...chain })
  }
}

/** Goes on with another list as Alice's own, laid out on her shelf anew. */
async function adopt(
  world: World,
  person: Person,
  list: VerifiedDeviceList,
  change: (contact: ContactRecord) => ContactRecord = (contact) => contact,
): Promise<void> {
  await edit(world, person, (records) => editContact(change)(records.flatMap(({ key, value }) => {
    if (key.startsWith('laid/')) return []
    if (key !== keys.own) return [{ key, value }]
    return [{ key, value: encode(ownCodec, { ...decode(ownCodec, value), deviceList: list.bytes }) }]
  })))
  await world.clock.advance(10_000)
}

function alarms(person: Person): string[] {
  type Alarm = Extract<ClientEvent, { type: 'alarm' }>
  const told = person.events.filter((event): event is Alarm => event.type === 'alarm')
  return told.map(({ alarm }) => `${alarm.code} ${alarm.contact} ${alarm.number}`)
}

/** Texts both ways, and the receipts that carry the heads. */
async function talk(world: World, [one, other]: readonly [Person, Person]): Promise<void> {
  const { name: otherName } = (await one.client.contacts())[0]!
  const { name: oneName } = (await other.client.contacts())[0]!
  await world.run(one.client.send(otherName, 'hello'))
  await world.run(other.client.send(oneName, 'hello'))
  await world.clock.advance(5_000)
}

test('a ghost device that only one contact was shown is an alarm for its owner', async () => {
  const world = new World('ghost')
  const [alice, bob] = await world.pair()
  const root = await Root.of(alice)
  const shown = root.list([...root.own.list.devices, root.ghost()], root.own)
  await edit(world, bob, editContact((contact) => ({ ...contact, deviceList: shown.bytes })))
  await talk(world, [alice, bob])
  assert.equal(alarms(alice), ['OWN_DEVICE_LIST_FORK Bob 2'])
  const told = (await alice.client.info()).alarms
  assert.equal(told.map(({ contact, number }) => [contact, number]), [['Bob', 2]])
  assert.equal((await bob.client.info()).alarms, [])
  alice.crash()
  await world.run(alice.recover())
  assert.is((await alice.client.info()).alarms.length, 1, 'outlives a restart')
  await world.run(alice.client.acknowledgeAlarms())
  assert.equal((await alice.client.info()).alarms, [])
  await talk(world, [alice, bob])
  assert.is((await alice.client.info()).alarms.length, 1, 'and comes back while it is so')
  await world.end()
})

test('another list under the number that is ours is an alarm for the owner and for the contact', async () => {
  const world = new World('fork')
  const [alice, bob] = await world.pair()
  const root = await Root.of(alice)
  const rival = root.list([...root.own.list.devices, root.ghost()])
  await edit(world, bob, editContact((contact) => ({ ...contact, deviceList: rival.bytes })))
  await world.run(alice.client.send('Bob', 'hello'))
  await world.clock.advance(5_000)
  await world.run(bob.client.send('Alice', 'hello').catch(() => undefined))
  await world.clock.advance(30_000)
  assert.equal(alarms(alice), ['OWN_DEVICE_LIST_FORK Bob 1'])
  const contact = await bob.client.contact('Alice')
  assert.is(contact.trust, 'changed')
  assert.is(contact.alarm, 'DEVICE_LIST_FORK')
  assert.equal((await record(bob)).rivalList, root.own.bytes, 'the list they have laid out was fetched')
  await world.run(bob.client.acceptChange('Alice'))
  assert.equal((await record(bob)).deviceList, root.own.bytes)
  await talk(world, [alice, bob])
  assert.is((await bob.client.contact('Alice')).trust, 'invite')
  await world.end()
})

test('a revocation that was held back takes effect within one fetch', async () => {
  const world = new World('revoked')
  const [alice, bob] = await world.pair()
  const root = await Root.of(alice)
  const stolen = root.ghost()
  const before = root.list([...root.own.list.devices, stolen])
  const after = root.list(root.own.list.devices, before)
  await edit(world, bob, editContact((contact) => ({ ...contact, deviceList: before.bytes })))
  await world.run(bob.client.markVerified('Alice'))
  const takes = (): number => bob.node.heard.filter(({ type }) => type === 'shelfTake').length
  const taken = takes()
  // She believes that he has it, so nothing but its head comes in band.
  await adopt(world, alice, after, (contact) => ({ ...contact, toldListNumber: 2 }))
  await world.run(bob.client.send('Alice', 'hello'))
  await world.clock.advance(10_000)
  assert.equal((await record(bob)).deviceList, after.bytes)
  assert.is(takes(), taken + 1)
  assert.ok((await record(bob)).formerDevices.includes(deviceId(stolen.signingKey)))
  assert.is((await bob.client.contact('Alice')).trust, 'verified', 'a new list of the same root is no alarm')
  assert.equal(alarms(alice), [])
  await world.end()
})

test('a device that goes back to an older list is noted, and may still be written to', async () => {
  const world = new World('rollback')
  const [alice, bob] = await world.pair()
  const root = await Root.of(alice)
  const next = root.list(root.own.list.devices, root.own)
  await adopt(world, alice, next)
  await talk(world, [alice, bob])
  assert.equal((await record(bob)).deviceList, next.bytes)
  await adopt(world, alice, root.own)
  await talk(world, [alice, bob])
  const contact = await bob.client.contact('Alice')
  assert.is(contact.alarm, 'DEVICE_LIST_ROLLBACK')
  assert.is(contact.trust, 'invite')
  assert.equal((await record(bob)).deviceList, next.bytes, 'the newer list stays')
  assert.equal(alarms(alice), ['OWN_DEVICE_LIST_FORK Bob 2'], 'her older state is told what it lost')
  await world.run(bob.client.acceptChange('Alice'))
  assert.is((await bob.client.contact('Alice')).alarm, undefined)
  await world.end()
})

test('mail that comes late is no rollback', async () => {
  const world = new World('late')
  const [alice, bob] = await world.pair()
  const root = await Root.of(alice)
  const next = root.list(root.own.list.devices, root.own)
  bob.node.withholds = () => true
  await world.run(bob.client.send('Alice', 'one'))
  await world.clock.advance(5_000)
  const late = new Set([...bob.node.held.values()].flatMap((box) => [...box.values()]))
  assert.ok(late.size > 0, 'a receipt with the old head waits')
  bob.node.withholds = (bytes) => late.has(bytes)
  await adopt(world, alice, next)
  await talk(world, [alice, bob])
  assert.equal((await record(bob)).deviceList, next.bytes)
  bob.node.withholds = () => false
  bob.node.session?.reset()
  await world.clock.advance(20_000)
  assert.is([...bob.node.held.values()].reduce((sum, box) => sum + box.size, 0), 0, 'all was taken')
  assert.is((await bob.client.contact('Alice')).alarm, undefined)
  await world.end()
})

test('a contact who lost our newest list is sent it again', async () => {
  const world = new World('lost list')
  const [alice, bob] = await world.pair()
  const root = await Root.of(alice)
  const next = root.list(root.own.list.devices, root.own)
  await adopt(world, alice, next)
  await talk(world, [alice, bob])
  assert.is((await record(alice)).toldListNumber, 2)
  // Without a seed nothing can be fetched.
  const lost = { deviceList: root.own.bytes, seed: undefined }
  await edit(world, bob, editContact((contact) => ({ ...contact, ...lost })))
  await talk(world, [alice, bob])
  await talk(world, [alice, bob])
  assert.equal((await record(bob)).deviceList, next.bytes)
  await world.end()
})

test('a linked device waits a day for the word of the primary before it raises an alarm', async () => {
  const world = new World('patience')
  const [alice, bob] = await world.pair()
  const root = await Root.of(alice)
  const next = root.list(root.own.list.devices, root.own)
  const told: ClientEvent[] = []
  const own = { self: 'self', list: root.own, isPrimary: false }
  const context = {
    kv: alice.store.kv, clock: world.clock, log: silentClientLog, own,
    emit: (event: ClientEvent) => { told.push(event) },
  } as unknown as Context
  const gossip = new Gossip(context, { book: { nameOf: () => 'Bob' } as unknown as ContactBook, onNeed() {} })
  const heads = {
    sender: { number: 1, hash: root.own.hash }, receiver: { number: next.list.number, hash: next.hash },
  }
  const hear = async (): Promise<void> => {
    const batch = new Batch()
    const said = { device: deviceId(new Uint8Array(32)), sentAtMs: world.clock.now() }
    await gossip.take({ id: (await record(bob)).id, batch } as unknown as Turn, said, heads)
    await world.run(batch.commit(alice.store.kv))
  }
  await hear()
  await world.clock.advance(limits.ownListPatienceMs - 1_000)
  await hear()
  assert.equal(told, [])
  await world.clock.advance(2_000)
  await hear()
  assert.is(told[0]?.type, 'alarm')
  assert.is(gossip.alarms.length, 1)
  await world.end()
})

test('receipts of ten messages with heads for one device are of the smallest size class', () => {
  const random = seededRandom('size')
  const head = { number: 7, hash: random.bytes(32) }
  const size = (ids: number): number => {
    const { content } = sealContent({
      messageId: hex(random.bytes(16)) as MessageId,
      sentAtMs: 1_790_000_000_000,
      sequence: 0,
      body: {
        type: 'receipts', read: [], heads: { sender: head, receiver: head },
        delivered: Array.from({ length: ids }, () => hex(random.bytes(16)) as MessageId),
      },
    }, random)
    const device = deviceId(random.bytes(32))
    const entries = [{ recipientDevice: device, wrap: random.bytes(135) }]
    const message = { senderDevice: device, entries, deviceList: undefined, content }
    return sealMessage(message, random.bytes(32), random).length
  }
  assert.is(size(10), limits.sizeClassesBytes[0])
  assert.ok(size(11) > limits.sizeClassesBytes[0]!)
})

test.run()
