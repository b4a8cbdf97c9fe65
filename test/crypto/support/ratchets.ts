/** Two ratchets without a handshake, and messages of a dishonest peer who knows their first keys. */
import * as assert from 'uvu/assert'
import { concat, utf8 } from '../../../crypto/bytes.ts'
import { FieldReader, FieldWriter } from '../../../crypto/fields.ts'
import { crypto } from '../../../crypto/index.ts'
import type { DhKeyPair } from '../../../crypto/provider.ts'
import { drawNonceAndSalt, sealMessage } from '../../../crypto/ratchet/header.ts'
import type { Header } from '../../../crypto/ratchet/header.ts'
import { nextMessageKey, stepRoot } from '../../../crypto/ratchet/key-schedule.ts'
import { Ratchet } from '../../../crypto/ratchet/ratchet.ts'
import type { SessionKeys } from '../../../crypto/ratchet/ratchet.ts'
import type { Random } from '../../../crypto/random.ts'
import { outcome, value } from './devices.ts'

export const ad = utf8('context')
const none = new Uint8Array(0)

export class RatchetBench {
  readonly random: Random
  readonly prekey: DhKeyPair
  readonly secrets: Omit<SessionKeys, 'binding'>
  readonly binding: Uint8Array

  /** @param turn of the second KEM step (kem-step.ts), 0 to 15 */
  constructor(random: Random, turn = 0) {
    this.random = random
    this.prekey = crypto.dhKeyPair(random.bytes(32))
    this.secrets = {
      rootKey: random.bytes(32), headerKey: random.bytes(32), nextHeaderKey: random.bytes(32),
    }
    this.binding = concat(Uint8Array.of(turn), random.bytes(31))
  }

  /** Ratchets own their keys, so each gets copies. */
  keys(): SessionKeys {
    const { secrets: { rootKey, headerKey, nextHeaderKey }, binding } = this
    return {
      rootKey: rootKey.slice(), headerKey: headerKey.slice(), nextHeaderKey: nextHeaderKey.slice(), binding,
    }
  }

  pair(): { alice: Ratchet, bob: Ratchet } {
    const { prekey, random } = this
    return {
      alice: Ratchet.initiator({ keys: this.keys(), remotePrekey: prekey.publicKey, random })!,
      bob: Ratchet.responder({ keys: this.keys(), own: prekey }),
    }
  }

  write(ratchet: Ratchet, text: string): Uint8Array {
    return ratchet.encrypt({ plaintext: utf8(text), ad, random: this.random })
  }

  /** `count` changes of direction and back, all messages read. */
  pingPong(one: Ratchet, other: Ratchet, count: number): void {
    for (let i = 0; i < count; i++) {
      assert.is(read(other, this.write(one, `ping ${i}`)), `ping ${i}`)
      assert.is(read(one, this.write(other, `pong ${i}`)), `pong ${i}`)
    }
  }

  /** A first message of the initiator's chain as a dishonest initiator can make it. */
  forged(changes: Partial<Header>, ratchetSecret = this.random.bytes(32)): Uint8Array {
    const { random, binding, secrets, prekey } = this
    const own = crypto.dhKeyPair(ratchetSecret)
    const { nonce, salt } = drawNonceAndSalt(random)
    const header: Header = {
      mode: 0, ratchetKey: own.publicKey, previousCount: 0, number: 0, salt, kem: none, ...changes,
    }
    const { chainKey } = stepRoot(secrets.rootKey, { dhOutput: crypto.dh(own, prekey.publicKey)!, mode: 0 })
    const keys = { headerKey: secrets.headerKey, messageKey: nextMessageKey(chainKey), binding }
    return sealMessage(keys, { header, nonce, plaintext: utf8('forged'), ad, prefix: none })
  }
}

export function read(ratchet: Ratchet, message: Uint8Array): string {
  return new TextDecoder().decode(value(ratchet.decrypt({ message, ad })))
}

export function tried(ratchet: Ratchet, message: Uint8Array, context = ad): string {
  return outcome(ratchet.decrypt({ message, ad: context }))
}

/** The stored form. */
export function bytesOf(ratchet: Ratchet): Uint8Array {
  const writer = new FieldWriter()
  ratchet.write(writer)
  return writer.take()
}

/** From the stored form; `undefined` unless all of it was read. */
export function fromBytes(bytes: Uint8Array): Ratchet | undefined {
  const reader = new FieldReader(bytes)
  const ratchet = Ratchet.read(reader)
  return reader.complete ? ratchet : undefined
}

export function refusedWithoutTrace(ratchet: Ratchet, message: Uint8Array, code: string): void {
  const before = bytesOf(ratchet)
  assert.is(tried(ratchet, message), code)
  assert.equal(bytesOf(ratchet), before)
}
