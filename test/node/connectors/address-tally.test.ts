/** How the TCP door groups and counts remote addresses (node/connectors/address-tally.ts). */
import * as assert from 'uvu/assert'
import { addressGroup, AddressTally } from '../../../node/connectors/address-tally.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('node/connectors/address-tally')

for (const [address, group] of [
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
  ['2001:db8::9', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
] as const) {
  test(`counts ${address} as ${group}`, () => assert.is(addressGroup(address), group))
}

test('refuses above the bound of one address and above the bound of all, and forgets who left', () => {
  const tally = new AddressTally(3, 2)
  assert.equal(['a', 'a', 'a', 'b', 'c'].map((group) => tally.enter(group)), [true, true, false, true, false])
  tally.leave('a')
  assert.ok(tally.enter('c'))
  tally.leave('a')
  tally.leave('b')
  assert.equal(['a', 'a', 'a'].map((group) => tally.enter(group)), [true, true, false])
})

test.run()
