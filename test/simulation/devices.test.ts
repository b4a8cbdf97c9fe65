/**
 * A second device at a real node: a whole week off while its owner talks and home restarts, mail
 * that waits for it and for nobody else, and an end that the node enforces.
 */
import * as assert from 'uvu/assert'
import { parseAddress } from '../../protocol/address.ts'
import { readAccount } from '../../protocol/client/account-state.ts'
import { Client } from '../../protocol/client/client.ts'
import { makeDeviceRequest } from '../../protocol/client/linked-account.ts'
import { DeviceSession } from '../../protocol/session/device-session.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import { suite } from '../helpers/harness.ts'
import { World } from './world.ts'
import type { SimNode } from './world.ts'

const test = suite('simulation/devices', { timeoutMs: 110_000 })
const eveningMs = 5 * 60_000
const dayMs = 24 * 3_600_000

/** A linked device: a client with a store of its own, at somebody's node. */
class Phone {
  readonly codes: string[] = []
  readonly #world: World
  readonly #home: SimNode
  #store: MemoryStore
  client!: Client

  private constructor(world: World, home: SimNode) {
    this.#world = world
    this.#home = home
    this.#store = new MemoryStore({ clock: world.clock, random: world.random })
  }

  static async link(world: World, home: SimNode): Promise<Phone> {
    const phone = new Phone(world, home)
    const { random, clock } = world
    const address = parseAddress((await home.client.info()).address)
    if (!address.ok) throw new Error(address.code)
    const { secrets, request } = makeDeviceRequest({ random, rootKey: address.value, name: 'phone' })
    const answer = await home.client.certify(request)
    await Client.createLinked({ kv: phone.#store.kv, clock, random, secrets, package: answer })
    await phone.on()
    return phone
  }

  async on(): Promise<void> {
    const { clock, random } = this.#world
    const { kv } = this.#store
    const account = await readAccount(kv)
    const dialer = this.#home.dialer(account!.linkKeys.publicKey)
    this.client = await Client.open({
      kv, clock, random,
      connect: (listener) => new DeviceSession({ dialer, clock, random }, {
        ...listener,
        frame: (frame) => listener.frame(frame),
        reset: () => listener.reset(),
        state: (online, code, cause) => {
          if (code !== undefined) this.codes.push(code)
          listener.state(online, code, cause)
        },
      }),
    })
    await this.client.start()
  }

  async off(): Promise<void> {
    await this.client.stop()
    await this.#store.close()
    this.#store = this.#store.reopen()
  }
}

async function seen(client: Client): Promise<string[]> {
  return (await client.history({ limit: 1_000 })).map(({ direction, text }) => `${direction} ${text}`)
}

async function same(world: World, clients: readonly Client[], count: number): Promise<void> {
  await world.eventually(async () => {
    const all = await Promise.all(clients.map(seen))
    return all.every((texts) => texts.length >= count) ? true : undefined
  }, { withinMs: 10 * 60_000, what: `${count} messages on every device`, everyMs: 1_000 })
  const [first, ...others] = await Promise.all(clients.map(async (client) => (await seen(client)).sort()))
  for (const other of others) assert.equal(other, first)
  assert.is(new Set(first).size, count, 'each once')
}

test('a device that was off for seven days gets all of it, and nothing after it is put out', async () => {
  const world = new World({ seed: 'a week off' })
  const alice = world.add({ name: 'alice', account: true })
  const bob = world.add({ name: 'bob', account: true })
  for (const name of ['one', 'two', 'three']) world.add({ name, account: false })
  for (const node of world.nodes) await world.run(node.start())
  await world.clock.advance(10_000)
  const { uri } = await world.run(alice.client.invite())
  await world.run(bob.client.add(uri))
  const isActive = async (): Promise<true | undefined> => {
    const known = await Promise.all([alice, bob].map(({ client }) => client.contacts()))
    return known.every(([contact]) => contact?.state === 'active') ? true : undefined
  }
  await world.eventually(isActive, { withinMs: 120_000, what: 'contacts' })
  await world.run(bob.client.send('alice', 'before'))
  await world.clock.advance(10_000)

  const phone = await world.run(Phone.link(world, alice))
  await same(world, [alice.client, phone.client], 1)
  await world.run(phone.client.send('bob', 'from the phone'))
  await same(world, [alice.client, phone.client], 2)
  await same(world, [bob.client], 2)

  await world.run(phone.off())
  for (let day = 0; day < 7; day++) {
    await world.run(bob.client.send('alice', `day ${day}`))
    await world.run(alice.client.send('bob', `answer ${day}`))
    await world.clock.advance(eveningMs)
    if (day === 3) {
      await world.run(alice.stop())
      await world.run(alice.start())
    }
    // The night passes for everybody's calendar, not for their timers.
    world.clock.jumpWall(dayMs - eveningMs)
    await world.clock.advance(1_000)
  }
  await world.run(phone.on())
  await same(world, [alice.client, phone.client], 16)

  const [, device] = await alice.client.devices()
  await world.run(alice.client.removeDevice(device!.id))
  await world.eventually(() => (phone.codes.includes('DEVICE_REVOKED') ? true : undefined),
    { withinMs: 60_000, what: 'thrown out' })
  await world.run(bob.client.send('alice', 'not for the phone'))
  await same(world, [alice.client], 17)
  await world.clock.advance(120_000)
  assert.is((await seen(phone.client)).length, 16)
  assert.not((await phone.client.info()).online)
  await world.run(phone.off())
  await world.end()
})

test.run()
