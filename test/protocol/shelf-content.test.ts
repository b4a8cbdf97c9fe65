/** protocol/shelf-content.ts: blobs open for whoever knows the shelf secret, and for nobody else. */
import * as assert from 'uvu/assert'
import { limits } from '../../protocol/limits.ts'
import {
  openShelfOneTime, openShelfStatic, sealShelfOneTime, sealShelfStatic, shelfBundle,
} from '../../protocol/shelf-content.ts'
import type { ShelfOneTime, ShelfStatic } from '../../protocol/shelf-content.ts'
import { bytesOf, deviceListOf, deviceOf, flipped } from '../helpers/actors.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'

const test = suite('protocol/shelf-content')

const shelf = { shelfKey: bytesOf('shelf key'), shelfSecret: bytesOf('shelf secret') }
function kemOf(id: number, oneTime: boolean): ShelfOneTime['oneTimeKem'] {
  return { id, publicKey: bytesOf(`kem ${id}`, 1_184), signature: bytesOf(`kem sig ${id}`, 64), oneTime }
}
const fixed: ShelfStatic = {
  deviceList: deviceListOf('alice', ['laptop']).bytes,
  signedPrekey: { id: 1, publicKey: bytesOf('spk'), signature: bytesOf('spk signature', 64) },
  lastResortKem: kemOf(2, false),
}
const oneTime: ShelfOneTime = {
  oneTimePrekey: { id: 3, publicKey: bytesOf('opk') },
  oneTimeKem: kemOf(4, true),
}
const staticBlob = sealShelfStatic(fixed, shelf, seededRandom(1))
const oneTimeBlob = sealShelfOneTime(oneTime, shelf, seededRandom(2))

function codeOf(result: { ok: boolean, code?: string }): string {
  return result.ok ? 'ok' : result.code!
}

test('both blobs open to what was sealed', () => {
  const openedStatic = openShelfStatic(staticBlob, shelf)
  assert.ok(openedStatic.ok)
  assert.equal(openedStatic.value, fixed)
  const openedOneTime = openShelfOneTime(oneTimeBlob, shelf)
  assert.ok(openedOneTime.ok)
  assert.equal(openedOneTime.value, oneTime)
})

test('lengths do not tell how many devices there are', () => {
  const eight = deviceListOf('alice', Array.from({ length: 8 }, (_, i) => `device ${i}`)).bytes
  assert.is(sealShelfStatic({ ...fixed, deviceList: eight }, shelf, seededRandom(1)).length, 4_096)
  assert.is(staticBlob.length, 4_096)
  const longest = new Uint8Array(limits.deviceListBytesMax)
  const largest = sealShelfStatic({ ...fixed, deviceList: longest }, shelf, seededRandom(1))
  assert.is(largest.length, 8_192)
  assert.ok(largest.length <= limits.shelfStaticBytesMax)
  assert.ok(oneTimeBlob.length <= limits.shelfOneTimeBytesMax)
})

test('another secret, another shelf, the other kind or a changed byte does not open', () => {
  assert.is(codeOf(openShelfStatic(staticBlob, { ...shelf, shelfSecret: bytesOf('other') })), 'SHELF_SEALED')
  assert.is(codeOf(openShelfStatic(staticBlob, { ...shelf, shelfKey: bytesOf('other') })), 'SHELF_SEALED')
  assert.is(codeOf(openShelfOneTime(staticBlob, shelf)), 'SHELF_SEALED')
  assert.is(codeOf(openShelfStatic(oneTimeBlob, shelf)), 'SHELF_SEALED')
  for (const at of [0, 23, 24, 500, -1]) {
    assert.is(codeOf(openShelfStatic(flipped(staticBlob, at), shelf)), 'SHELF_SEALED', `byte ${at}`)
  }
  for (const length of [0, 1, 24, 39, 40]) {
    const cut = oneTimeBlob.subarray(0, length)
    assert.is(codeOf(openShelfOneTime(cut, shelf)), 'SHELF_SEALED', `${length} bytes`)
  }
})

test('a bundle takes the one-time prekeys when there are some and the last resort else', () => {
  const device = deviceOf('alice', 'laptop')
  const identity = { signingKey: device.signingKey, dhKey: device.dhKey }
  const { signedPrekey } = fixed
  assert.equal(shelfBundle({ device, static: fixed, oneTime }), {
    identity, signedPrekey, kemPrekey: oneTime.oneTimeKem, oneTimePrekey: oneTime.oneTimePrekey,
  })
  assert.equal(shelfBundle({ device, static: fixed, oneTime: undefined }), {
    identity, signedPrekey, kemPrekey: fixed.lastResortKem,
  })
})

test.run()
