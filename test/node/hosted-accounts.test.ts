/**
 * Accounts that a node hosts besides its owner's: people and services with keys, contacts and history
 * of their own, in a world of nodes.
 */
import * as assert from 'uvu/assert'
import { errorCode } from '../../crypto/errors.ts'
import type { Client } from '../../protocol/client/client.ts'
import { limits } from '../../protocol/limits.ts'
import { suite } from '../helpers/harness.ts'
import { World } from '../simulation/world.ts'
import type { SimNode } from '../simulation/world.ts'

const test = suite('node/hosted-accounts', { timeoutMs: 60_000 })
let world: World

test.after.each(() => world.end())

async function two(seed: string): Promise<readonly [SimNode, SimNode]> {
  world = new World({ seed })
  const home = world.add({ name: 'home', account: true })
  const away = world.add({ name: 'away', account: true })
  for (const node of [home, away]) await world.run(node.start())
  return [home, away]
}

async function befriend(a: Client, b: Client): Promise<void> {
  const { uri } = await world.run(a.invite())
  await world.run(b.add(uri))
  const areActive = async (one: Client): Promise<boolean> =>
    (await one.contacts()).every(({ state }) => state === 'active')
  await world.eventually(async () => await areActive(a) && await areActive(b) || undefined, {
    withinMs: 60_000, what: 'they are contacts',
  })
}

async function arrives(at: Client, text: string): Promise<void> {
  await world.eventually(async () => {
    const entries = await at.history({ direction: 'in' })
    return entries.some((entry) => entry.text === text) ? true : undefined
  }, { withinMs: 60_000, what: `"${text}" arrives` })
}

test('two of one node and one elsewhere talk, and none sees what is another\'s', async () => {
  const [home, away] = await two('hosted people')
  const anna = await world.run(home.hosted.open('anna', { kind: 'person', shownAs: 'Anna' }))
  const ben = await world.run(home.hosted.open('ben', { kind: 'person' }))
  const infos = await Promise.all([home.client, anna, ben].map((one) => one.info()))
  const addresses = infos.map(({ address }) => address)
  assert.is(new Set(addresses).size, 3)
  await befriend(anna, away.client)
  await befriend(anna, ben)
  assert.equal((await away.client.contacts()).map(({ name }) => name), ['Anna'])
  await world.run(away.client.send('Anna', 'to Anna'))
  await world.run(ben.send('Anna', 'from next door'))
  await arrives(anna, 'to Anna')
  await arrives(anna, 'from next door')
  assert.equal(await home.client.history({}), [])
  assert.equal((await ben.history({ direction: 'in' })), [])
})

test('they are the same after a restart, with what was sent to them meanwhile', async () => {
  const [home, away] = await two('hosted restart')
  const anna = await world.run(home.hosted.open('anna', { kind: 'person' }))
  const { address } = await anna.info()
  await befriend(anna, away.client)
  home.crash()
  await world.run(away.client.send('anna', 'while you were away'))
  await world.run(home.start())
  assert.is(home.hosted.client('anna'), undefined)
  const [known] = await home.hosted.list()
  assert.equal([known!.name, known!.kind, known!.address], ['anna', 'person', address])
  const again = await world.run(home.hosted.open('anna', { kind: 'person' }))
  assert.is((await again.info()).address, address)
  await arrives(again, 'while you were away')
})

test('opened twice at once it is one; removed it is gone, and a new one is somebody else', async () => {
  const [home] = await two('hosted removal')
  const [one, other] = await world.run(Promise.all([
    home.hosted.open('anna', { kind: 'person' }), home.hosted.open('anna', { kind: 'person' }),
  ]))
  assert.is(one, other)
  const { address } = await one!.info()
  assert.is(home.core.accounts.devicesOf(address).length, 1)
  await world.run(home.hosted.remove('anna'))
  assert.is(home.core.accounts.devicesOf(address).length, 0)
  assert.equal([home.hosted.client('anna'), await home.hosted.list()], [undefined, []])
  assert.equal(await home.store.kv.list({ prefix: 'hosted/' }), [])
  await world.run(home.hosted.remove('anna'))
  const next = await world.run(home.hosted.open('anna', { kind: 'person' }))
  assert.is.not((await next.info()).address, address)
})

test('nothing of it is readable on the disk, and names that cannot be are refused', async () => {
  const [home] = await two('hosted at rest')
  await world.run(home.hosted.open('anna', { kind: 'person', shownAs: 'Anna Example' }))
  for (const prefix of ['hosted/', 'hosted-account/']) {
    const rows = await home.store.kv.list({ prefix })
    assert.ok(rows.length > 0)
    assert.ok(rows.every(({ value }) => !Buffer.from(value).includes('Anna Example')))
  }
  for (const name of ['', 'Anna', 'a/b', 'x'.repeat(65)]) {
    const code = await home.hosted.open(name, { kind: 'person' })
      .then(() => 'opened', (error: { code: string }) => error.code)
    assert.is(code, 'HOSTED_NAME')
  }
})

test('of many that begin at once no more are made than a node hosts', async () => {
  const [home] = await two('hosted limit')
  const names = Array.from({ length: limits.hostedAccountsMax + 5 }, (_, i) => `n${i}`)
  const codes = (all: readonly string[]): Promise<(string | undefined)[]> => world.run(Promise.all(
    all.map((name) => home.hosted.open(name, { kind: 'person' }).then(() => 'opened', errorCode)),
  ))
  const given = await codes(names)
  assert.is(given.filter((code) => code === 'opened').length, limits.hostedAccountsMax)
  assert.is(given.filter((code) => code === 'HOSTED_LIMIT').length, 5)
  await world.run(home.hosted.remove('n0'))
  assert.equal(await codes(['another']), ['opened'])
})

test.run()
