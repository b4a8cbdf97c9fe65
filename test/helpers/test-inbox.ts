/** An inbox with all its keys in one hand: what its owner, its writer and a forger can sign. */
import { crypto } from '../../crypto/index.ts'
import type { SigningKeyPair } from '../../crypto/provider.ts'
import type { Random } from '../../crypto/random.ts'
import { boxId, createEnvelope, envelopeId, expiryHour, expiryMs } from '../../protocol/envelope.ts'
import { inboxActions } from '../../protocol/frame/inbox.ts'
import type { InboxFrame } from '../../protocol/frame/inbox.ts'
import type { BoxId, EnvelopeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock } from '../../protocol/ports.ts'
import { signTombstone } from '../../protocol/service/acknowledge.ts'
import { signReadProof } from '../../protocol/service/fetch.ts'
import type { ReadProof } from '../../protocol/service/fetch.ts'
import { boxKinds, signLease } from '../../protocol/service/lease.ts'
import type { Lease } from '../../protocol/service/lease.ts'
import type { MailboxItem } from '../../node/ports.ts'

const dayMs = 86_400_000

export class TestInbox {
  readonly writeKeys: SigningKeyPair
  readonly readSeed: Uint8Array
  readonly readKeys: SigningKeyPair
  readonly box: BoxId
  readonly #clock: Clock
  readonly #random: Random

  constructor({ clock, random }: { clock: Clock, random: Random }) {
    this.#clock = clock
    this.#random = random
    this.writeKeys = crypto.signingKeyPair(random.bytes(32))
    this.readSeed = random.bytes(32)
    this.readKeys = crypto.signingKeyPair(this.readSeed)
    this.box = boxId({ writeKey: this.writeKey, readKey: this.readKey })
  }

  get writeKey(): Uint8Array {
    return this.writeKeys.publicKey
  }

  get readKey(): Uint8Array {
    return this.readKeys.publicKey
  }

  envelope(options: { bytes?: number, expiryHour?: number } = {}): Uint8Array {
    return createEnvelope({
      writeKeys: this.writeKeys,
      readKey: this.readKey,
      expiryHour: options.expiryHour ?? expiryHour(this.#clock.now() + limits.envelopeTtlMs),
      ciphertext: this.#random.bytes(options.bytes ?? 512),
    })
  }

  /** With a signature that does not fit. */
  forgedEnvelope(): Uint8Array {
    const envelope = this.envelope()
    envelope[envelope.length - 1]! ^= 1
    return envelope
  }

  envelopes(count: number, options: { bytes?: number } = {}): Uint8Array[] {
    return Array.from({ length: count }, () => this.envelope(options))
  }

  item(envelope: Uint8Array): MailboxItem {
    const expiresAtMs = expiryMs(expiryHour(this.#clock.now() + limits.envelopeTtlMs))
    return { box: this.box, id: envelopeId(envelope), expiresAtMs, body: envelope }
  }

  lease(change: Partial<Lease> & Pick<Lease, 'holder' | 'home'>, signer = this.readKeys): Uint8Array {
    const { writeKey, readKey } = this
    return signLease({
      writeKey,
      readKey,
      kind: boxKinds.mail,
      sequence: 1,
      itemsMax: 1_000,
      bytesMax: 4 * 1024 * 1024,
      expiryHour: expiryHour(this.#clock.now() + 20 * dayMs),
      ...change,
    }, signer)
  }

  readProof(
    change: Partial<ReadProof> & Pick<ReadProof, 'holder' | 'reader'>,
    signer = this.readKeys,
  ): Uint8Array {
    const { writeKey, readKey } = this
    return signReadProof({ writeKey, readKey, timeMs: this.#clock.now(), ...change }, signer)
  }

  tombstone(envelopeIds: EnvelopeId[], signer = this.readKeys): Uint8Array {
    const { writeKey, readKey } = this
    return signTombstone({ writeKey, readKey, envelopeIds }, signer)
  }

  frame(change: Partial<InboxFrame> = {}): InboxFrame {
    return {
      type: 'inbox',
      request: 1,
      action: inboxActions.open,
      writeKey: this.writeKey,
      readSeed: this.readSeed,
      placement: new Uint8Array(32),
      itemsMax: 1_000,
      bytesMax: 4 * 1024 * 1024,
      expiryHour: 0,
      ...change,
    }
  }
}

/** Ids of encoded envelopes. */
export function idsOf(envelopes: readonly Uint8Array[]): EnvelopeId[] {
  return envelopes.map((bytes) => envelopeId(bytes))
}
