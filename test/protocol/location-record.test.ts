/** protocol/location-record.ts: readers, holders, and what each cannot do. */
import * as assert from 'uvu/assert'
import { concat, hex, utf8 } from '../../crypto/bytes.ts'
import { blindedSigner } from '../../crypto/blinding.ts'
import { crypto } from '../../crypto/index.ts'
import { deviceId } from '../../protocol/account.ts'
import { encode, u64 } from '../../protocol/codec/struct.ts'
import { limits } from '../../protocol/limits.ts'
import {
  checkLocationRecord, createLocationRecord, locationKey, locationKeys, locationPeriod, locationPeriodStartMs,
  openLocationRecord,
} from '../../protocol/location-record.ts'
import type { LocationContent } from '../../protocol/location-record.ts'
import { locationRecordBytesMax } from '../../protocol/service/location.ts'
import { bytesOf, flipped, keysOf, nodesOf, testHour, testNowMs } from '../helpers/actors.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'

const test = suite('protocol/location-record')

const rootSeed = bytesOf('alice')
const rootKey = keysOf('alice').publicKey
const seed = bytesOf('alice seed', 15)
const period = locationPeriod(rootKey, testNowMs)

function shelves(count: number): LocationContent['shelves'] {
  return Array.from({ length: count }, (_, i) => ({
    deviceId: deviceId(bytesOf(`device ${i}`)),
    shelfKey: bytesOf(`shelf ${i}`),
    shelfSecret: bytesOf(`secret ${i}`),
  }))
}
const small: LocationContent = {
  homes: nodesOf('home', 1),
  replicas: nodesOf('replica', 5),
  introReadKey: bytesOf('intro read'),
  shelves: shelves(1),
  deviceListNumber: 4,
}
const largest: LocationContent = {
  ...small,
  homes: nodesOf('home', limits.homesMax),
  replicas: nodesOf('replica', limits.replicasMax),
  shelves: shelves(limits.devicesMax),
  deviceListNumber: Number.MAX_SAFE_INTEGER,
}

function create(changes: Partial<Parameters<typeof createLocationRecord>[0]> = {}): Uint8Array {
  return createLocationRecord({
    rootSeed,
    seed,
    period,
    sequence: 7,
    expiryHour: testHour + 48,
    content: small,
    random: seededRandom(1),
    ...changes,
  })
}
const record = create()

/** Signed with the key that somebody else's root seed makes of the same factor. */
function signedBy(otherRootSeed: Uint8Array, unsigned: Uint8Array): Uint8Array {
  const factor = crypto.hkdf({
    secret: concat(rootKey, seed),
    salt: encode(u64, period),
    info: utf8('openim location blinding v1'),
    length: 32,
  })
  const signer = blindedSigner({ seed: otherRootSeed, factor })
  return concat(unsigned, signer.sign(concat(utf8('openim location record v1'), unsigned)))
}

function openCode(changes: Partial<Parameters<typeof openLocationRecord>[0]>): string {
  const result = openLocationRecord({ rootKey, seed, period, record, ...changes })
  return result.ok ? 'ok' : result.code
}
function checkCode(bytes: Uint8Array, nowMs = testNowMs): string {
  const result = checkLocationRecord(bytes, nowMs)
  return result.ok ? 'ok' : result.code
}

test('a reader with address and seed gets the content, whatever its size', () => {
  for (const content of [small, largest]) {
    const opened = openLocationRecord({ rootKey, seed, period, record: create({ content }) })
    assert.ok(opened.ok)
    assert.equal(opened.value, content)
  }
})

test('every record has the same length', () => {
  assert.is(record.length, 1 + 32 + 8 + 4 + 24 + limits.locationContentBytes + 16 + 64)
  assert.is(create({ content: largest }).length, record.length)
  assert.ok(record.length <= locationRecordBytesMax)
})

test('a holder learns blinded key, sequence and expiry', () => {
  const checked = checkLocationRecord(record, testNowMs)
  assert.ok(checked.ok)
  const { current } = locationKeys({ rootKey, seed, timeMs: testNowMs })
  assert.is(hex(checked.value.blindedKey), hex(current.blindedKey))
  assert.is(checked.value.sequence, 7)
  assert.is(checked.value.expiresAtMs, (testHour + 48) * 3_600_000)
})

test('another seed, period or address finds other keys and opens nothing', () => {
  assert.is(openCode({ seed: bytesOf('reset seed', 15) }), 'LOCATION_OTHER')
  assert.is(openCode({ period: period + 1 }), 'LOCATION_OTHER')
  assert.is(openCode({ rootKey: keysOf('bob').publicKey }), 'LOCATION_OTHER')
})

test('every changed byte is refused by holder and reader', () => {
  for (let i = 0; i < record.length; i++) {
    const changed = flipped(record, i)
    assert.is.not(checkCode(changed), 'ok', `holder, byte ${i}`)
    if (i % 16 === 0) assert.is.not(openCode({ record: changed }), 'ok', `reader, byte ${i}`)
  }
})

test('a truncated or longer record is refused', () => {
  assert.is(checkCode(record.subarray(0, -1)), 'CODEC_TRUNCATED')
  assert.is(checkCode(concat(record, new Uint8Array(1))), 'CODEC_TRAILING')
  assert.is(checkCode(new Uint8Array(0)), 'CODEC_TRUNCATED')
})

test('a record that is over, or lives too long, is refused', () => {
  const end = (testHour + 48) * 3_600_000
  assert.is(checkCode(record, end + limits.clockSkewMs - 1), 'ok')
  assert.is(checkCode(record, end + limits.clockSkewMs), 'LOCATION_EXPIRED')
  assert.is(checkCode(create({ expiryHour: testHour + 49 })), 'ok', 'rounding up to the hour is put up with')
  assert.is(checkCode(create({ expiryHour: testHour + 50 })), 'LOCATION_EXPIRY')
})

test('periods follow each other a day apart, at an hour of the account’s own', () => {
  const start = locationPeriodStartMs(rootKey, period)
  assert.ok(start <= testNowMs && testNowMs < start + 86_400_000)
  assert.is(locationPeriod(rootKey, start - 1), period - 1)
  assert.is(locationPeriod(rootKey, start), period)
  assert.is.not(start % 86_400_000, locationPeriodStartMs(keysOf('bob').publicKey, period) % 86_400_000)
  const keys = locationKeys({ rootKey, seed, timeMs: testNowMs })
  const three = [keys.previous, keys.current, keys.next]
  assert.equal(three.map((key) => key.period), [period - 1, period, period + 1])
  const later = locationKeys({ rootKey, seed, timeMs: testNowMs + 86_400_000 })
  assert.is(hex(later.previous.blindedKey), hex(keys.current.blindedKey))
  assert.is(hex(later.current.blindedKey), hex(keys.next.blindedKey))
  assert.is(new Set(three.map((key) => hex(locationKey(key.blindedKey)))).size, 3)
})

test('the root key itself never shows', () => {
  assert.not.ok(hex(record).includes(hex(rootKey)))
})

test('a reader of one period cannot sign a record of it', () => {
  const forged = signedBy(bytesOf('mallory'), record.subarray(0, -64))
  assert.is(checkCode(forged), 'SIGNATURE_INVALID')
  assert.is(openCode({ record: forged }), 'SIGNATURE_INVALID')
})

test('signed content that does not open is named so', () => {
  const resigned = signedBy(rootSeed, flipped(record.subarray(0, -64), 100))
  assert.is(checkCode(resigned), 'ok')
  assert.is(openCode({ record: resigned }), 'LOCATION_SEALED')
})

test.run()
