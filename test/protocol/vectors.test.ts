/**
 * The wire format does not change by accident: objects built from fixed seeds are compared with
 * the frozen file, and what the file holds still decodes.
 */
import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { hexDecode } from '../../crypto/bytes.ts'
import { parseAddress } from '../../protocol/address.ts'
import { verifyDeviceList } from '../../protocol/account.ts'
import { parseEnvelope, verifyEnvelope } from '../../protocol/envelope.ts'
import { parseInvite } from '../../protocol/invite.ts'
import { checkLocationRecord, openLocationRecord } from '../../protocol/location-record.ts'
import { openContent } from '../../protocol/message/content.ts'
import { openMessage } from '../../protocol/message/sealed.ts'
import { checkNodeDescriptor } from '../../protocol/node-descriptor.ts'
import { suite } from '../helpers/harness.ts'
import { objectVectors } from '../helpers/object-vectors.ts'

const test = suite('protocol/vectors')

type Vectors = ReturnType<typeof objectVectors>
const file = new URL('../vectors/protocol-objects.json', import.meta.url)
const frozen = JSON.parse(readFileSync(file, 'utf8')) as Vectors
const built = JSON.parse(JSON.stringify(objectVectors())) as Vectors

for (const name of Object.keys(built) as (keyof Vectors)[]) {
  test(`builds the frozen ${name}`, () => assert.equal(built[name], frozen[name]))
}

test('has no frozen object that is not built', () => {
  assert.equal(Object.keys(frozen), Object.keys(built))
})

test('reads every frozen object', () => {
  const { nowMs, address, invite, deviceList, locationRecord, envelope, message, nodeDescriptor } = frozen
  const rootKey = hexDecode(address.rootKey)
  assert.ok(parseAddress(address.address).ok)
  assert.ok(parseInvite(invite.uri, nowMs).ok)
  assert.ok(parseInvite(invite.uriWithHint, nowMs).ok)
  assert.ok(verifyDeviceList(hexDecode(deviceList.second.bytes), rootKey).ok)
  const record = hexDecode(locationRecord.record)
  assert.ok(checkLocationRecord(record, nowMs).ok)
  assert.ok(openLocationRecord({
    rootKey, seed: hexDecode(locationRecord.seed), period: locationRecord.period, record,
  }).ok)
  const parsed = parseEnvelope(hexDecode(envelope.envelope))
  assert.ok(parsed.ok && verifyEnvelope(hexDecode(envelope.envelope), parsed.value.envelope))
  const opened = openMessage(hexDecode(message.sealed), hexDecode(message.sealKey))
  assert.ok(opened.ok && openContent(opened.value.content, hexDecode(message.contentKey)).ok)
  assert.ok(checkNodeDescriptor(hexDecode(nodeDescriptor.bytes), nowMs).ok)
})

test.run()
