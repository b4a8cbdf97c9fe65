/**
 * A contact, or a stranger with an invite, who does as they please with real keys and sessions, by
 * hand. Everything that reaches the victim is made of honest parts in a dishonest way.
 */
import { equalBytes, hex } from '../../../crypto/bytes.ts'
import type { PrekeyBundle } from '../../../crypto/handshake/types.ts'
import type { Random } from '../../../crypto/random.ts'
import { SecureSession } from '../../../crypto/secure-session.ts'
import { readAccount } from '../../../protocol/client/account-state.ts'
import type { OwnAccount } from '../../../protocol/client/account-state.ts'
import { keys } from '../../../protocol/client/keys.ts'
import { contactCodec, contactId } from '../../../protocol/client/records.ts'
import { cardTarget, sealEnvelope } from '../../../protocol/client/sealing.ts'
import type { Target } from '../../../protocol/client/sealing.ts'
import { decode } from '../../../protocol/codec/struct.ts'
import { createEnvelope, expiryHour, parseEnvelope } from '../../../protocol/envelope.ts'
import { introKeys, parseInvite } from '../../../protocol/invite.ts'
import type { MessageId } from '../../../protocol/ids.ts'
import type { Body } from '../../../protocol/message/payload.ts'
import { openMessage, sealMessage } from '../../../protocol/message/sealed.ts'
import { openShelfStatic } from '../../../protocol/shelf-content.ts'
import type { World, Person } from '../../helpers/client-actors.ts'
import type { TestNode } from '../../helpers/client-network.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { value } from './devices.ts'

export class Dishonest {
  readonly own: OwnAccount
  readonly victim: Person
  readonly random: Random
  session: SecureSession
  /** Where the victim reads. */
  readonly target: Target
  readonly #world: World
  readonly #node: TestNode
  readonly #victimAccount: OwnAccount
  /** Of the next text; they sent one before they became dishonest. */
  #sequence = 2

  private constructor(world: World, parts: {
    own: OwnAccount, node: TestNode, victim: Person, victimAccount: OwnAccount, target: Target,
    session?: SecureSession,
  }) {
    this.#world = world
    this.#node = parts.node
    this.own = parts.own
    this.victim = parts.victim
    this.#victimAccount = parts.victimAccount
    this.target = parts.target
    this.random = seededRandom(`${world.seed} dishonest`)
    this.session = parts.session ?? this.#begun()
  }

  /** Of two people who are contacts; the real client of `attacker` is gone afterwards. */
  static async contact(world: World, attacker: Person, victim: Person): Promise<Dishonest> {
    const { kv } = attacker.store
    const [own, victimAccount] = [(await readAccount(kv))!, (await readAccount(victim.store.kv))!]
    const id = contactId(victimAccount.rootKey)
    const { card } = decode(contactCodec, (await kv.get(keys.contact(id)))!.value)
    const stored = await kv.get(keys.session(id, victimAccount.deviceId))
    const session = SecureSession.deserialize(stored!.value)
    attacker.crash()
    const { node } = attacker
    return new Dishonest(world, { own, node, victim, victimAccount, session, target: cardTarget(card!) })
  }

  /** Somebody with an invite of the victim, who writes into its request box. */
  static async stranger(
    world: World, attacker: Person, { victim, uri }: { victim: Person, uri: string },
  ): Promise<Dishonest> {
    const own = (await readAccount(attacker.store.kv))!
    const victimAccount = (await readAccount(victim.store.kv))!
    const { writeKeys, sealKey } = introKeys(value(parseInvite(uri, world.clock.now())))
    const boxes = [...victim.node.boxes.values()]
    const opened = boxes.find(({ writeKey }) => equalBytes(writeKey, writeKeys.publicKey))!
    const target: Target = {
      box: opened.id, writeKeys, readKey: opened.readKeys.publicKey, sealKey, homes: [], replicas: [],
    }
    return new Dishonest(world, { own, node: attacker.node, victim, victimAccount, target })
  }

  /** One envelope with a text, or another body, in the current session. */
  envelope(content: string | Body): Uint8Array {
    const isText = typeof content === 'string'
    const body: Body = isText ? { type: 'text', text: content } : content
    const sentAtMs = this.#world.clock.now()
    return sealEnvelope({
      senderDevice: this.own.deviceId,
      payload: {
        messageId: hex(this.random.bytes(16)) as MessageId,
        sentAtMs,
        sequence: isText ? this.#sequence++ : 0,
        body,
      },
      sessions: [{ device: this.#victimAccount.deviceId, session: this.session }],
      target: this.target,
      list: undefined,
      expiresAtMs: sentAtMs + 86_400_000,
      random: this.random,
    }).bytes
  }

  /** To the victim's home. */
  deposit(envelope: Uint8Array): void {
    this.victim.node.deposit(envelope)
  }

  /** Takes over, and says so with a tombstone, what the victim wrote; no receipt follows. */
  swallow(): void {
    for (const [box, held] of this.#node.held) {
      if (held.size > 0) this.#node.handle({ type: 'acknowledge', box, envelopeIds: [...held.keys()] })
    }
  }

  /** The same ciphertext in an envelope of another id. */
  rewrapped(envelope: Uint8Array, hours = 1): Uint8Array {
    const { envelope: { ciphertext, expiryHour: hour } } = value(parseEnvelope(envelope))
    const { writeKeys, readKey } = this.target
    return createEnvelope({ writeKeys, readKey, expiryHour: hour + hours, ciphertext: ciphertext.slice() })
  }

  /** The same message, sealed for another box that we may write to. */
  moved(envelope: Uint8Array, to: Target): Uint8Array {
    const { envelope: { ciphertext, expiryHour: hour } } = value(parseEnvelope(envelope))
    const message = value(openMessage(ciphertext, this.target.sealKey))
    return createEnvelope({
      writeKeys: to.writeKeys, readKey: to.readKey, expiryHour: hour,
      ciphertext: sealMessage(message, to.sealKey, this.random),
    })
  }

  /** An envelope that opens to nothing: the right box, random content. */
  rubbish(): Uint8Array {
    const { writeKeys, readKey } = this.target
    const expiry = expiryHour(this.#world.clock.now() + 86_400_000)
    return createEnvelope({ writeKeys, readKey, expiryHour: expiry, ciphertext: this.random.bytes(512) })
  }

  /** Begins anew with the victim's last-resort prekeys, as often as they like. */
  begin(): void {
    this.session = this.#begun(this.session)
  }

  #begun(existing?: SecureSession): SecureSession {
    const { shelfKeys: { publicKey: shelfKey }, shelfSecret, identity } = this.#victimAccount
    const shelf = this.victim.node.shelves.get(hex(shelfKey))!
    const { signedPrekey, lastResortKem } = value(openShelfStatic(shelf.static, { shelfKey, shelfSecret }))
    const bundle: PrekeyBundle = {
      identity: { signingKey: identity.signingKeys.publicKey, dhKey: identity.dhKeys.publicKey },
      signedPrekey,
      kemPrekey: lastResortKem,
    }
    const { own: { identity: own }, random } = this
    return value(SecureSession.initiate({ own, bundle, random, ...existing && { existing } }))
  }
}

/** The signed device list that somebody's prekeys lie beside. */
export async function deviceListOf(person: Person): Promise<Uint8Array> {
  const { shelfKeys: { publicKey: shelfKey }, shelfSecret } = (await readAccount(person.store.kv))!
  const shelf = person.node.shelves.get(hex(shelfKey))!
  return value(openShelfStatic(shelf.static, { shelfKey, shelfSecret })).deviceList
}
