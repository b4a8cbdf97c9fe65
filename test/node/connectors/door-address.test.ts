/** Addresses of doors as text (node/connectors/door-address.ts). */
import * as assert from 'uvu/assert'
import { errorCode } from '../../../crypto/errors.ts'
import { parseDoorAddress, waysTo } from '../../../node/connectors/door-address.ts'
import { systemRandom } from '../../../crypto/random.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import { RacingDialer } from '../../../protocol/session/racing-dialer.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'
import { deviceKeys, drive } from '../../compliance/connector-world.ts'
import { doorKey, socketDoors } from '../../compliance/socket-doors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('node/connectors/door-address')

test('reads hosts, IPv4 and IPv6 with every scheme', () => {
  assert.equal(parseDoorAddress('tcp://192.0.2.7:4482'), { scheme: 'tcp', host: '192.0.2.7', port: 4482 })
  assert.equal(parseDoorAddress('udp://[2001:db8::1]:1'), { scheme: 'udp', host: '2001:db8::1', port: 1 })
  for (const scheme of ['tls', 'ws', 'wss', 'http', 'https']) {
    assert.is(parseDoorAddress(`${scheme}://node.example:65535`).scheme, scheme)
  }
})

for (const text of ['', 'tcp://', 'tcp://host', 'tcp://host:0', 'tcp://host:65536', 'ftp://host:21',
  'tcp://[::1]', 'tcp://a b:1', 'constructor://host:1', 'tcp://host:1/path', `tcp://${'a'.repeat(300)}:1`]) {
  test(`refuses "${text.slice(0, 30)}"`, () => {
    assert.throws(() => parseDoorAddress(text), (error: unknown) => errorCode(error) === 'DOOR_ADDRESS')
  })
}

test('races real doors: one that nobody listens at, and one that works', async () => {
  const clock = new VirtualClock()
  const tcp = socketDoors.find((door) => door.name === 'tcp')!.create(clock)
  let accepted = 0
  await tcp.start(() => { accepted++ })
  const own = deviceKeys('anna')
  const components = { clock: systemClock, random: systemRandom }
  const keys = { doorKey: doorKey.publicKey, own }
  const ways = waysTo(['ws://127.0.0.1:1', `tcp://${tcp.address()}`], components, keys)
  const dialer = new RacingDialer(components, ways)
  const link = await dialer.dial(new AbortController().signal)
  assert.is(link.transport, 'tcp')
  assert.is(dialer.preferred, `tcp://${tcp.address()}`)
  link.send(new Uint8Array([1]))
  await drive(clock, () => accepted === 1)
  link.listen({ message: () => {}, drain: () => {}, closed: () => {} })
  link.close('TEST_DONE')
  let stopped = false
  void tcp.stop().then(() => { stopped = true })
  await drive(clock, () => stopped)
})

test.run()
