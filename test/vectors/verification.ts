/**
 * Frozen vectors of what people compare, safety numbers and short authentication strings:
 * `node test/vectors/verification.ts` writes verification.json, on the reference backend alone. Whatever
 * changes a digit on a screen shows as a difference from the file.
 */
import { writeFileSync } from 'node:fs'
import { hex, hexDecode, utf8 } from '../../crypto/bytes.ts'
import type { Random } from '../../crypto/random.ts'
import { importOnNoble } from '../crypto/support/backends.ts'
import { seededRandom } from '../helpers/seeded-random.ts'

/** The modules of one backend. */
export interface VerificationModules {
  readonly safetyNumber: typeof import('../../crypto/safety-number.ts')
  readonly shortAuth: typeof import('../../crypto/short-auth.ts')
}

interface Side {
  readonly rootKey: string
  readonly stableId: string
  readonly fingerprint: string
}

export interface VerificationVectors {
  readonly source: string
  readonly safetyNumber: {
    readonly sides: readonly Side[]
    readonly digits: string
    /** As the first side shows it. */
    readonly scannable: string
  }
  readonly shortAuth: {
    readonly binding: string
    readonly initiatorNonce: string
    readonly responderNonce: string
    /** In the order in which they are sent. */
    readonly messages: readonly string[]
    readonly digits: string
    readonly pictures: readonly string[]
  }
}

export const vectorsFile = new URL('verification.json', import.meta.url)

export const loadNobleModules = async (): Promise<VerificationModules> => ({
  safetyNumber: await importOnNoble('safety-number.ts'),
  shortAuth: await importOnNoble('short-auth.ts'),
})

export function generate(modules: VerificationModules): VerificationVectors {
  return {
    source: 'openIM, test/vectors/verification.ts',
    safetyNumber: safetyNumberVectors(modules),
    shortAuth: shortAuthVectors(modules),
  }
}

function safetyNumberVectors({ safetyNumber }: VerificationModules): VerificationVectors['safetyNumber'] {
  const random = seededRandom('safety number vectors')
  const sides = ['alice', 'bob'].map((name) => {
    const rootKey = random.bytes(32)
    const stableId = `stable id of ${name}`
    return {
      rootKey: hex(rootKey),
      stableId,
      fingerprint: hex(safetyNumber.fingerprint({ rootKey, stableId: utf8(stableId) })),
    }
  })
  const [own, their] = sides.map((side) => hexDecode(side.fingerprint))
  return {
    sides,
    digits: safetyNumber.safetyDigits(own!, their!),
    scannable: hex(safetyNumber.scannableNumber({ own: own!, their: their! })),
  }
}

function shortAuthVectors(modules: VerificationModules): VerificationVectors['shortAuth'] {
  const { ShortAuth } = modules.shortAuth
  const random = seededRandom('short auth vectors')
  const [binding, initiatorNonce, responderNonce] = [random.bytes(32), random.bytes(32), random.bytes(32)]
  const drawing = (nonce: Uint8Array): Random => ({ bytes: () => nonce.slice() })
  const { auth, message } = ShortAuth.initiate({ binding, random: drawing(initiatorNonce) })
  const other = ShortAuth.respond({ binding, random: drawing(responderNonce) })
  const answer = other.receive(message)
  const reveal = answer.ok && auth.receive(answer.value.send!)
  const end = reveal && reveal.ok && other.receive(reveal.value.send!)
  if (!answer.ok || !reveal || !reveal.ok || !end || !end.ok) throw new Error('an honest run failed')
  const { digits, pictures } = end.value.code!
  return {
    binding: hex(binding),
    initiatorNonce: hex(initiatorNonce),
    responderNonce: hex(responderNonce),
    messages: [message, answer.value.send!, reveal.value.send!].map(hex),
    digits,
    pictures: pictures.map(({ name }) => name),
  }
}

if (import.meta.main) {
  writeFileSync(vectorsFile, `${JSON.stringify(generate(await loadNobleModules()), null, 2)}\n`)
}
