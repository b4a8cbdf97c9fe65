/** An account hosted on the node: made once, found again, sealed at rest, let in over the loopback. */
import * as assert from 'uvu/assert'
import { utf8 } from '../../crypto/bytes.ts'
import type { Client } from '../../protocol/client/client.ts'
import { openHostedAccount } from '../../node/hosted-account.ts'
import { openNodeStore } from '../../node/node-store.ts'
import { LoopbackConnector } from '../../node/connectors/loopback-connector.ts'
import { Accounts } from '../../node/router/accounts.ts'
import { suite } from '../helpers/harness.ts'
import { RoomNetwork } from '../helpers/room-network.ts'
import type { Peer } from '../helpers/room-network.ts'

const test = suite('node/hosted-account')
const entropy = new Uint8Array(32).fill(5)
const dataKey = new Uint8Array(32).fill(6)

async function open(peer: Peer, accounts: Accounts, key = dataKey): Promise<Client> {
  const loopback = new LoopbackConnector(peer)
  const { account } = await openNodeStore({ ...peer.parts, store: peer.store, dataKey: key })
  return await openHostedAccount({
    ...peer.parts,
    kv: account,
    loopback,
    register: (address, deviceKey) => accounts.register(address, deviceKey),
  }, { name: 'alice', entropy, hint: () => undefined })
}

test('is made on the first start and the same ever after, with one device', async () => {
  const net = new RoomNetwork('hosted')
  const peer = await net.peer()
  const accounts = new Accounts(peer.parts)
  await accounts.start()
  const first = await (await open(peer, accounts)).info()
  const second = await (await open(peer, accounts)).info()
  assert.is(first.address, second.address)
  assert.is(first.name, 'alice')
  assert.is(accounts.devicesOf(first.address).length, 1)
  assert.ok(accounts.authorise(new Uint8Array(32)).ok === false)
  await net.end()
})

test('keeps nothing readable in the node\'s store, and opens with no other key', async () => {
  const net = new RoomNetwork('sealed')
  const peer = await net.peer()
  const accounts = new Accounts(peer.parts)
  await open(peer, accounts)
  const rows = await peer.kv.list({ prefix: 'client/' })
  assert.ok(rows.length > 0)
  const name = Buffer.from(utf8('alice'))
  assert.ok(rows.every(({ value }) => !Buffer.from(value).includes(name)))
  const code = await open(peer, accounts, new Uint8Array(32).fill(7))
    .then(() => 'opened', (error: { code: string }) => error.code)
  assert.is(code, 'STORE_SEAL')
  await net.end()
})

test.run()
