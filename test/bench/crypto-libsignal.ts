/**
 * The peer of the `crypto` benchmark: two devices on `@signalapp/libsignal-client` (PQXDH, Double
 * Ratchet, SPQR). It is measured here and used nowhere else; its licence binds nothing we ship.
 *
 * Its stores keep live records in memory and write the serialized record into a map on every
 * change: exactly what our own side of the benchmark does.
 */
import {
  IdentityChange, IdentityKeyStore, KEMKeyPair, KyberPreKeyRecord, KyberPreKeyStore, PreKeyBundle,
  PreKeyRecord, PreKeySignalMessage, PreKeyStore, PrivateKey, processPreKeyBundle, ProtocolAddress,
  SessionStore, signalDecrypt, signalDecryptPreKey, signalEncrypt, SignalMessage, SignedPreKeyRecord,
  SignedPreKeyStore,
} from '@signalapp/libsignal-client'
import type { CiphertextMessage, PublicKey, SessionRecord } from '@signalapp/libsignal-client'

type Bytes = Uint8Array<ArrayBuffer>

const preKeyMessage = 3
/** What is signed and stamped costs the same whatever the time is. */
const timestamp = 0

class Sessions extends SessionStore {
  readonly durable = new Map<string, Uint8Array>()
  readonly #live = new Map<string, SessionRecord>()

  override async saveSession(name: ProtocolAddress, record: SessionRecord): Promise<void> {
    this.durable.set(name.toString(), record.serialize())
    this.#live.set(name.toString(), record)
  }

  override async getSession(name: ProtocolAddress): Promise<SessionRecord | null> {
    return this.#live.get(name.toString()) ?? null
  }

  override async getExistingSessions(names: ProtocolAddress[]): Promise<SessionRecord[]> {
    return names.map((name) => this.#live.get(name.toString())!)
  }
}

class Identities extends IdentityKeyStore {
  readonly key = PrivateKey.generate()
  readonly #known = new Map<string, PublicKey>()

  override async getIdentityKey(): Promise<PrivateKey> {
    return this.key
  }

  override async getLocalRegistrationId(): Promise<number> {
    return 1
  }

  override async saveIdentity(name: ProtocolAddress, key: PublicKey): Promise<IdentityChange> {
    this.#known.set(name.toString(), key)
    return IdentityChange.NewOrUnchanged
  }

  override async isTrustedIdentity(): Promise<boolean> {
    return true
  }

  override async getIdentity(name: ProtocolAddress): Promise<PublicKey | null> {
    return this.#known.get(name.toString()) ?? null
  }
}

class PreKeys extends PreKeyStore {
  readonly #records = new Map<number, PreKeyRecord>()

  override async savePreKey(id: number, record: PreKeyRecord): Promise<void> {
    this.#records.set(id, record)
  }

  override async getPreKey(id: number): Promise<PreKeyRecord> {
    return this.#records.get(id)!
  }

  override async removePreKey(id: number): Promise<void> {
    this.#records.delete(id)
  }
}

class SignedPreKeys extends SignedPreKeyStore {
  readonly #records = new Map<number, SignedPreKeyRecord>()

  override async saveSignedPreKey(id: number, record: SignedPreKeyRecord): Promise<void> {
    this.#records.set(id, record)
  }

  override async getSignedPreKey(id: number): Promise<SignedPreKeyRecord> {
    return this.#records.get(id)!
  }
}

class KyberPreKeys extends KyberPreKeyStore {
  readonly #records = new Map<number, KyberPreKeyRecord>()

  override async saveKyberPreKey(id: number, record: KyberPreKeyRecord): Promise<void> {
    this.#records.set(id, record)
  }

  override async getKyberPreKey(id: number): Promise<KyberPreKeyRecord> {
    return this.#records.get(id)!
  }

  override async markKyberPreKeyUsed(): Promise<void> {}
}

export class LibsignalDevice {
  readonly address: ProtocolAddress
  readonly #sessions = new Sessions()
  readonly #identities = new Identities()
  readonly #preKeys = new PreKeys()
  readonly #signedPreKeys = new SignedPreKeys()
  readonly #kyberPreKeys = new KyberPreKeys()

  constructor(name: string) {
    this.address = ProtocolAddress.new(name, 1)
  }

  /** Bytes that would be on disk. */
  get storedBytes(): number {
    return [...this.#sessions.durable.values()].reduce((sum, bytes) => sum + bytes.length, 0)
  }

  /** All prekeys fresh, kept for `decrypt`. */
  async bundle(id: number): Promise<PreKeyBundle> {
    const identity = this.#identities.key
    const [preKey, signed, kyber] = [PrivateKey.generate(), PrivateKey.generate(), KEMKeyPair.generate()]
    const signedKey = signed.getPublicKey()
    const kyberKey = kyber.getPublicKey()
    const signature = identity.sign(signedKey.serialize())
    const kyberSignature = identity.sign(kyberKey.serialize())
    await this.#preKeys.savePreKey(id, PreKeyRecord.new(id, preKey.getPublicKey(), preKey))
    const record = SignedPreKeyRecord.new(id, timestamp, signedKey, signed, signature)
    await this.#signedPreKeys.saveSignedPreKey(id, record)
    await this.#kyberPreKeys.saveKyberPreKey(id, KyberPreKeyRecord.new(id, timestamp, kyber, kyberSignature))
    return PreKeyBundle.new(
      1, 1, id, preKey.getPublicKey(), id, signedKey, signature, identity.getPublicKey(),
      id, kyberKey, kyberSignature,
    )
  }

  async begin(to: LibsignalDevice, bundle: PreKeyBundle): Promise<void> {
    await processPreKeyBundle(bundle, to.address, this.address, this.#sessions, this.#identities)
  }

  async encrypt(to: LibsignalDevice, plaintext: Bytes): Promise<CiphertextMessage> {
    return await signalEncrypt(plaintext, to.address, this.address, this.#sessions, this.#identities)
  }

  async decrypt(from: LibsignalDevice, message: CiphertextMessage): Promise<Uint8Array> {
    const bytes = message.serialize()
    if (message.type() !== preKeyMessage) {
      const parsed = SignalMessage.deserialize(bytes)
      return await signalDecrypt(parsed, from.address, this.address, this.#sessions, this.#identities)
    }
    return await signalDecryptPreKey(
      PreKeySignalMessage.deserialize(bytes), from.address, this.address, this.#sessions, this.#identities,
      this.#preKeys, this.#signedPreKeys, this.#kyberPreKeys,
    )
  }
}
