/**
 * The wire codec alone: what declarative structs cost against copying the same bytes. Everything
 * that travels is decoded at least three times on its way, so this bounds what a node can carry.
 */
import { crypto } from '../../crypto/index.ts'
import { decode, encode } from '../../protocol/codec/struct.ts'
import { createEnvelope, parseEnvelope } from '../../protocol/envelope.ts'
import { depositRequestCodec } from '../../protocol/service/deposit.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { compare, interleaved, perSecond } from './bench.ts'
import type { Bench } from './bench.ts'

const envelopesPerDeposit = 16
const roundMs = 200

export const bench: Bench = {
  about: 'struct codec and envelope parsing against copying the same bytes',
  async run() {
    const random = seededRandom('codec bench')
    const writeKeys = crypto.signingKeyPair(random.bytes(32))
    const { publicKey: readKey } = crypto.signingKeyPair(random.bytes(32))
    const ciphertext = random.bytes(512)
    const envelope = createEnvelope({ writeKeys, readKey, expiryHour: 500_000, ciphertext })
    const request = { envelopes: Array.from({ length: envelopesPerDeposit }, () => envelope) }
    const bytes = encode(depositRequestCodec, request)
    const rounds = await interleaved({
      rounds: 5,
      sides: {
        copy: () => perSecond(() => bytes.slice(), roundMs),
        encode: () => perSecond(() => encode(depositRequestCodec, request), roundMs),
        decode: () => perSecond(() => decode(depositRequestCodec, bytes), roundMs),
        hash: () => perSecond(() => crypto.sha256(envelope), roundMs),
        parse: () => perSecond(() => parseEnvelope(envelope), roundMs),
      },
    })
    const row = { unit: '1/s', better: 'higher' } as const
    const copy = { against: 'copy', name: 'copy of the bytes' } as const
    const hash = { against: 'hash', name: 'one SHA-256 of it' } as const
    return [
      { figure: `deposits of ${envelopesPerDeposit} encoded`, ...row, ...compare(rounds, 'encode', copy) },
      { figure: `deposits of ${envelopesPerDeposit} decoded`, ...row, ...compare(rounds, 'decode', copy) },
      { figure: 'envelopes parsed', ...row, floor: 0.1, target: 0.3, ...compare(rounds, 'parse', hash) },
    ]
  },
}
