/** protocol/account.ts: device lists, their chain, and the order of two lists. */
import * as assert from 'uvu/assert'
import { concat, hex, utf8 } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import {
  certifyDevice, compareDeviceLists, createDeviceList, deviceId, findDevice, rootSeed, verifyDeviceList,
} from '../../protocol/account.ts'
import type { DeviceCertificate } from '../../protocol/account.ts'
import { limits } from '../../protocol/limits.ts'
import { bytesOf, deviceListOf, deviceOf, flipped, keysOf } from '../helpers/actors.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('protocol/account')
const root = keysOf('alice')

function codeOf(bytes: Uint8Array, rootKey = root.publicKey): string {
  const result = verifyDeviceList(bytes, rootKey)
  return result.ok ? 'ok' : result.code
}

test('a list verifies and comes back as it was made', () => {
  const made = deviceListOf('alice', ['laptop', 'phone'])
  const verified = verifyDeviceList(made.bytes, root.publicKey)
  assert.ok(verified.ok)
  assert.equal(verified.value.list, made.list)
  assert.is(hex(verified.value.hash), hex(made.hash))
  const phone = made.list.devices[1]!
  assert.is(findDevice(verified.value.list, deviceId(phone.signingKey))?.name, 'phone')
  assert.is(findDevice(verified.value.list, deviceId(keysOf('stranger').publicKey)), undefined)
})

test('a device id is half a hash of the signing key', () => {
  const key = keysOf('alice laptop signing').publicKey
  assert.is(deviceId(key), hex(crypto.sha256(concat(utf8('openim device id v1'), key))).slice(0, 32))
})

test('a list of other hands, another account or with a changed byte is refused', () => {
  const { bytes } = deviceListOf('alice', ['laptop'])
  assert.is(codeOf(bytes, keysOf('bob').publicKey), 'SIGNATURE_INVALID')
  for (let i = 0; i < bytes.length; i++) assert.is.not(codeOf(flipped(bytes, i)), 'ok', `byte ${i}`)
})

test('sixteen devices with the longest names fit, seventeen do not', () => {
  const names = Array.from({ length: limits.devicesMax }, (_, i) => `device ${i}`)
  const devices = names.map((name) => deviceOf('alice', name, name.padEnd(limits.nameBytesMax, '.')))
  const made = createDeviceList({ rootKeys: root, devices })
  assert.is(made.bytes.length, 3_306)
  assert.ok(made.bytes.length <= limits.deviceListBytesMax)
  assert.is(codeOf(made.bytes), 'ok')
  assert.throws(
    () => createDeviceList({ rootKeys: root, devices: [...devices, deviceOf('alice', 'one more')] }),
    (error: { code: string }) => error.code === 'BUG_ASSERTION',
  )
  assert.is(codeOf(new Uint8Array(limits.deviceListBytesMax + 1)), 'CODEC_TOO_LONG')
})

test('nobody lists a device that did not agree', () => {
  const stolen = deviceOf('bob', 'laptop')
  assert.throws(() => createDeviceList({ rootKeys: root, devices: [stolen] }), /did not agree/)
})

test('a device that agreed once cannot be listed with another identity key', () => {
  const swapped: DeviceCertificate = { ...deviceOf('alice', 'laptop'), dhKey: bytesOf('another') }
  assert.throws(() => createDeviceList({ rootKeys: root, devices: [swapped] }), /did not agree/)
})

test('a key listed twice, an empty list and an unusable key are refused', () => {
  const laptop = deviceOf('alice', 'laptop')
  assert.throws(() => createDeviceList({ rootKeys: root, devices: [laptop, laptop] }), /listed twice/)
  assert.throws(() => createDeviceList({ rootKeys: root, devices: [] }), /at least one/)
  const identity = new Uint8Array(32)
  identity[0] = 1
  const unusable = { ...laptop, signingKey: identity }
  assert.throws(() => createDeviceList({ rootKeys: root, devices: [unusable] }), /not usable/)
})

test('what a root signed against the rules is refused by everybody else', () => {
  const { bytes } = deviceListOf('alice', ['laptop'])
  const content = bytes.slice(0, -64)
  content.set([0, 0, 0, 0, 0, 0, 0, 2], 33)
  const resigned = concat(content, crypto.sign(root, concat(utf8('openim device list v1'), content)))
  assert.is(codeOf(resigned), 'DEVICE_LIST_INVALID', 'list 2 without a previous one')
  const other = bytes.slice(0, -64)
  other.set(keysOf('bob').publicKey, 1)
  const moved = concat(other, crypto.sign(root, concat(utf8('openim device list v1'), other)))
  assert.is(codeOf(moved), 'DEVICE_LIST_ACCOUNT')
})

test('the order of two lists tells news, replay and fork apart', () => {
  const one = deviceListOf('alice', ['laptop'])
  const two = deviceListOf('alice', ['laptop', 'phone'], one)
  const three = deviceListOf('alice', ['phone'], two)
  const otherOne = deviceListOf('alice', ['tablet'])
  const otherTwo = deviceListOf('alice', ['tablet', 'phone'], otherOne)
  assert.equal(compareDeviceLists({ known: one, offered: one }), { order: 'same' })
  assert.equal(compareDeviceLists({ known: one, offered: two }), { order: 'newer', chained: true })
  assert.equal(compareDeviceLists({ known: one, offered: three }), { order: 'newer', chained: false })
  assert.equal(compareDeviceLists({ known: three, offered: one }), { order: 'rollback' })
  assert.equal(compareDeviceLists({ known: one, offered: otherOne }), { order: 'fork' })
  assert.equal(compareDeviceLists({ known: one, offered: otherTwo }), { order: 'fork' })
})

test('a list whose maker could not know the newest one leaves a gap and is no fork', () => {
  const one = deviceListOf('alice', ['laptop'])
  const two = deviceListOf('alice', ['laptop', 'phone'], one)
  const device = deviceOf('alice', 'restored')
  const restored = createDeviceList({
    rootKeys: root, previous: one, devices: [device], numberMin: 1_700_000_000,
  })
  assert.is(restored.list.number, 1_700_000_000)
  assert.equal(restored.list.previous, one.hash)
  for (const known of [one, two]) {
    assert.equal(compareDeviceLists({ known, offered: restored }), { order: 'newer', chained: false })
    assert.equal(compareDeviceLists({ known: restored, offered: known }), { order: 'rollback' })
  }
  const recovered = createDeviceList({ rootKeys: root, devices: [device], numberMin: two.list.number + 1 })
  assert.equal(recovered.list.previous, new Uint8Array(32).fill(0xff))
  assert.ok(verifyDeviceList(recovered.bytes, root.publicKey).ok)
  assert.equal(compareDeviceLists({ known: two, offered: recovered }), { order: 'newer', chained: false })
  const next = createDeviceList({ rootKeys: root, previous: restored, devices: [device], numberMin: 5 })
  assert.is(next.list.number, restored.list.number + 1)
  assert.equal(compareDeviceLists({ known: restored, offered: next }), { order: 'newer', chained: true })
})

test('a certificate made on the device carries its own word', () => {
  const signingKeys = keysOf('device')
  const dhKey = bytesOf('dh')
  const certificate = certifyDevice({ rootKey: root.publicKey, signingKeys, dhKey, addedHour: 1 })
  assert.is(certificate.name, '')
  assert.is(certificate.proof.length, 64)
})

test('recovery entropy gives one root seed, which is not the entropy itself', () => {
  const entropy = bytesOf('entropy')
  assert.is(hex(rootSeed(entropy)), hex(rootSeed(entropy)))
  assert.is.not(hex(rootSeed(entropy)), hex(entropy))
  assert.throws(() => rootSeed(new Uint8Array(16)), /32 bytes/)
})

test.run()
