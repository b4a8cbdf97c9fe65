/**
 * Decoders that are more than a codec: signed and sealed objects, texts that people paste, the
 * streams of both kinds of link. Each with valid inputs and the exports it covers; objects.test.ts
 * fuzzes them and sees to it that none is forgotten.
 *
 * What is sealed is fuzzed twice: as it lies on the wire, where nearly every change breaks the
 * seal, and inside, as somebody who holds the key could write it.
 */
import { concat, hexDecode, utf8, utf8Decode } from '../../crypto/bytes.ts'
import { encodeInitialHeader, decodeInitialHeader } from '../../crypto/handshake/initial-header.ts'
import { crypto } from '../../crypto/index.ts'
import { recoveryEntropy, recoveryPhrase } from '../../crypto/recovery.ts'
import { parseAddress, formatAddress } from '../../protocol/address.ts'
import { verifyDeviceList } from '../../protocol/account.ts'
import { createEnvelope, decodeEnvelope, parseEnvelope, verifyEnvelope } from '../../protocol/envelope.ts'
import type { EnvelopeId } from '../../protocol/ids.ts'
import { parseNodeId } from '../../protocol/ids.ts'
import { formatInvite, parseInvite } from '../../protocol/invite.ts'
import { limits } from '../../protocol/limits.ts'
import { checkLocationRecord, createLocationRecord, openLocationRecord } from '../../protocol/location-record.ts'
import { openContent, sealContent } from '../../protocol/message/content.ts'
import { decodePayload, encodePayload } from '../../protocol/message/payload.ts'
import type { Body } from '../../protocol/message/payload.ts'
import { openMessage, sealMessage } from '../../protocol/message/sealed.ts'
import { checkNodeDescriptor, signNodeDescriptor } from '../../protocol/node-descriptor.ts'
import { signTombstone, verifyTombstone } from '../../protocol/service/acknowledge.ts'
import { signStoreReceipt, verifyStoreReceipt } from '../../protocol/service/deposit.ts'
import { signReadProof, verifyReadProof } from '../../protocol/service/fetch.ts'
import { signLease, verifyLease } from '../../protocol/service/lease.ts'
import { signShelf, verifyShelf } from '../../protocol/service/shelf.ts'
import { openShelfOneTime, openShelfStatic, sealShelfOneTime, sealShelfStatic } from '../../protocol/shelf-content.ts'
import { bytesOf, cardOf, deviceListOf, deviceOf, keysOf, nodeOf, nodesOf, testHour, testNowMs } from '../helpers/actors.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import type { FuzzedDecoder } from './decoder-fuzz.ts'

export interface FuzzedObject {
  readonly name: string
  /** Exported functions that the decoder goes through. */
  readonly covers: readonly string[]
  readonly valid: readonly Uint8Array[]
  readonly decode: FuzzedDecoder
  readonly selfDelimiting?: boolean
}

const writeKeys = keysOf('write')
const readKeys = keysOf('read')
const keys = { writeKey: writeKeys.publicKey, readKey: readKeys.publicKey }
const random = seededRandom('fuzzed objects')
const envelopeIds = ['a', 'b'].map((name) => bytesOf(name).toString() as EnvelopeId)
  .map((_, i) => Array.from(bytesOf(`id ${i}`), (byte) => byte.toString(16).padStart(2, '0')).join('') as EnvelopeId)

export function fuzzedObjects(): FuzzedObject[] {
  return [...mailObjects(), ...peopleObjects(), ...messageObjects(), ...shelfObjects(), ...texts()]
}

function envelopeOf(length: number): Uint8Array {
  const ciphertext = bytesOf('ciphertext', 32).slice(0, 0).length === 0 ? random.bytes(length) : new Uint8Array(0)
  return createEnvelope({ writeKeys, readKey: keys.readKey, expiryHour: testHour + 24, ciphertext })
}
