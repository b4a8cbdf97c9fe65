/** protocol/node-descriptor.ts: what a node may say of itself, and for how long. */
import * as assert from 'uvu/assert'
import { concat } from '../../crypto/bytes.ts'
import { checkNodeDescriptor, hasRole, signNodeDescriptor } from '../../protocol/node-descriptor.ts'
import type { NodeDescriptor } from '../../protocol/node-descriptor.ts'
import { limits } from '../../protocol/limits.ts'
import { bytesOf, flipped, keysOf, nodeOf, testHour, testNowMs } from '../helpers/actors.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('protocol/node-descriptor')

const descriptor: NodeDescriptor = {
  nodeId: nodeOf('node'),
  doorKey: bytesOf('door'),
  onionKey: bytesOf('onion'),
  roles: ['relay', 'bootstrap'],
  addresses: ['/ip4/192.0.2.17/tcp/41641', '/dns4/node.example.org/tcp/443/wss'],
  sequence: 9,
  sinceHour: testHour - 1_000,
  expiryHour: testHour + 6,
  storageFreeMiB: 512,
}
const keys = keysOf('node')

function codeOf(bytes: Uint8Array, nowMs = testNowMs): string {
  const result = checkNodeDescriptor(bytes, nowMs)
  return result.ok ? 'ok' : result.code
}
function sign(changes: Partial<NodeDescriptor> = {}): Uint8Array {
  return signNodeDescriptor({ ...descriptor, ...changes }, keys)
}

test('comes back as it was signed', () => {
  const checked = checkNodeDescriptor(sign(), testNowMs)
  assert.ok(checked.ok)
  assert.equal(checked.value, descriptor)
  assert.ok(hasRole(checked.value, 'relay'))
  assert.not(hasRole(checked.value, 'storage'))
})

test('the largest one fits into its limit', () => {
  const bytes = sign({
    roles: ['relay', 'storage', 'mix', 'bootstrap'],
    addresses: new Array<string>(limits.nodeAddressesMax).fill('/'.padEnd(limits.nodeAddressBytesMax, 'a')),
  })
  assert.ok(bytes.length <= limits.descriptorBytesMax, `${bytes.length} bytes`)
  assert.is(codeOf(bytes), 'ok')
})

test('a changed byte, or another node’s signature, is refused', () => {
  const bytes = sign()
  for (let i = 0; i < bytes.length; i++) assert.is.not(codeOf(flipped(bytes, i)), 'ok', `byte ${i}`)
  assert.is(codeOf(signNodeDescriptor(descriptor, keysOf('another node'))), 'SIGNATURE_INVALID')
})

test('too long, too short and trailing bytes are refused', () => {
  assert.is(codeOf(new Uint8Array(limits.descriptorBytesMax + 1)), 'CODEC_TOO_LONG')
  assert.is(codeOf(new Uint8Array(63)), 'CODEC_TRUNCATED')
  assert.is(codeOf(concat(sign(), new Uint8Array(1))), 'CODEC_TRAILING')
})

test('one that is over, or lives too long, is refused', () => {
  const end = (testHour + 6) * 3_600_000
  assert.is(codeOf(sign(), end + limits.clockSkewMs - 1), 'ok')
  assert.is(codeOf(sign(), end + limits.clockSkewMs), 'DESCRIPTOR_EXPIRED')
  assert.is(codeOf(sign({ expiryHour: testHour + 7 })), 'ok', 'rounding up to the hour is put up with')
  assert.is(codeOf(sign({ expiryHour: testHour + 8 })), 'DESCRIPTOR_EXPIRY')
})

test('what is no multiaddr is refused', () => {
  for (const address of ['', '192.0.2.17:80', '/ip4/192.0.2.17\n/tcp/1', '/ip4/\u202e']) {
    assert.is(codeOf(sign({ addresses: [address] })), 'CODEC_VALUE', JSON.stringify(address))
  }
})

test('roles of a newer version are ignored', () => {
  const bytes = sign()
  // u16 roles follow the version byte and three keys.
  bytes[97] = 0x80
  assert.is(codeOf(bytes), 'SIGNATURE_INVALID')
})

test('what is no news is dropped before its signature is looked at', () => {
  const forged = flipped(sign(), -1)
  const result = checkNodeDescriptor(forged, testNowMs, (nodeId, sequence) => {
    assert.is(nodeId, descriptor.nodeId)
    return sequence > 9
  })
  assert.is(!result.ok && result.code, 'DESCRIPTOR_STALE')
})

test.run()
