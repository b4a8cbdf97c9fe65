/**
 * The single steps behind secure-session.json, each with its inputs: transcript and keys of a
 * handshake, root and chain steps, headers and bodies of each mode, the schedule of KEM steps, and
 * how a message becomes an envelope.
 */
import { concat, hex, utf8 } from '../../crypto/bytes.ts'
import type { Header } from '../../crypto/ratchet/header.ts'
import type { ChainMode } from '../../crypto/ratchet/kem-step.ts'
import type { DeviceId, MessageId } from '../../protocol/ids.ts'
import { seededRandom } from '../helpers/seeded-random.ts'

export interface PartModules {
  readonly index: typeof import('../../crypto/index.ts')
  readonly labels: typeof import('../../crypto/labels.ts')
  readonly prekeys: typeof import('../../crypto/handshake/prekeys.ts')
  readonly pqxdh: typeof import('../../crypto/handshake/pqxdh.ts')
  readonly header: typeof import('../../crypto/ratchet/header.ts')
  readonly keySchedule: typeof import('../../crypto/ratchet/key-schedule.ts')
  readonly kemStep: typeof import('../../crypto/ratchet/kem-step.ts')
  readonly content: typeof import('../../protocol/message/content.ts')
  readonly sealed: typeof import('../../protocol/message/sealed.ts')
  readonly envelope: typeof import('../../protocol/envelope.ts')
}

const modes: readonly ChainMode[] = [0, 1, 2]
const random = (name: string) => seededRandom(`frozen parts, ${name}`)

/** Everything in hex; byte strings are made from their names, so that parts do not move each other. */
export function sessionParts(modules: PartModules): object {
  return {
    labels: labelTexts(modules),
    handshake: handshake(modules),
    rootSteps: modes.map((mode) => rootStep(modules, mode)),
    chainStep: chainStep(modules),
    messages: modes.map((mode) => message(modules, mode)),
    schedule: [0, 1, 7].map((first) => schedule(modules, first)),
    envelope: envelope(modules),
  }
}

function bytes(name: string, length = 32): Uint8Array {
  return random(name).bytes(length)
}

function labelTexts({ labels: { labels } }: PartModules): object {
  const session = /^(identityProof|.*[pP]rekey|handshake.*|ratchet.*)$/
  const all = Object.entries(labels).filter(([name]) => session.test(name))
  return Object.fromEntries(all.map(([name, label]) => [name, hex(label)]))
}

function handshake({ pqxdh }: PartModules): object {
  const identity = (name: string) => ({ signingKey: bytes(`${name} signing`), dhKey: bytes(`${name} dh`) })
  const [initiator, responder] = [identity('initiator'), identity('responder')]
  const baseKey = bytes('base key')
  const kemCiphertext = bytes('kem ciphertext', 1_088)
  const bundle = {
    identity: responder,
    signedPrekey: { id: 1, publicKey: bytes('signed prekey') },
    kemPrekey: { id: 2, oneTime: true, publicKey: bytes('kem prekey', 1_184) },
    oneTimePrekey: { id: 3, publicKey: bytes('one-time prekey') },
  }
  const lastResort = {
    identity: responder,
    signedPrekey: bundle.signedPrekey,
    kemPrekey: { ...bundle.kemPrekey, oneTime: false },
  }
  const transcript = pqxdh.transcriptHash({ initiator, baseKey, bundle, kemCiphertext })
  const ofLastResort = pqxdh.transcriptHash({ initiator, baseKey, bundle: lastResort, kemCiphertext })
  const dhOutputs = [1, 2, 3, 4].map((i) => bytes(`DH${i}`))
  const kemSecret = bytes('kem secret')
  const inputs = { dhOutputs: dhOutputs.map(hex), kemSecret: hex(kemSecret) }
  const keys = pqxdh.deriveSessionKeys({ dhOutputs, kemSecret, transcript })!
  return {
    initiator: { signingKey: hex(initiator.signingKey), dhKey: hex(initiator.dhKey) },
    baseKey: hex(baseKey),
    responder: { signingKey: hex(responder.signingKey), dhKey: hex(responder.dhKey) },
    signedPrekey: { id: 1, publicKey: hex(bundle.signedPrekey.publicKey) },
    kemPrekey: { id: 2, oneTime: true, publicKey: hex(bundle.kemPrekey.publicKey) },
    oneTimePrekey: { id: 3, publicKey: hex(bundle.oneTimePrekey.publicKey) },
    kemCiphertext: hex(kemCiphertext),
    transcript: hex(transcript),
    transcriptOfLastResort: hex(ofLastResort),
    ...inputs,
    rootKey: hex(keys.rootKey),
    headerKey: hex(keys.headerKey),
    nextHeaderKey: hex(keys.nextHeaderKey),
  }
}

function rootStep({ index: { crypto }, keySchedule, kemStep }: PartModules, mode: ChainMode): object {
  const [rootKey, dhOutput] = [bytes('root key'), bytes('dh output')]
  const inputs = { mode, rootKey: hex(rootKey), dhOutput: hex(dhOutput) }
  if (mode !== 2) return { ...inputs, ...hexOf(keySchedule.stepRoot(rootKey, { dhOutput, mode })) }
  const kemKeys = crypto.kemKeyPair(bytes('kem seed', 64))
  const { publicKey } = kemKeys
  const { ciphertext, sharedSecret: secret } = crypto.kemEncapsulate(publicKey, random('encapsulation'))!
  const hash = kemStep.kemStepHash({ publicKey, ciphertext })
  return {
    ...inputs,
    kemSeed: hex(bytes('kem seed', 64)),
    kemPublicKey: hex(publicKey),
    encapsulationRandom: hex(random('encapsulation').bytes(32)),
    ciphertext: hex(ciphertext),
    kemSecret: hex(crypto.kemDecapsulate(kemKeys, ciphertext)),
    kemHash: hex(hash),
    ...hexOf(keySchedule.stepRoot(rootKey, { dhOutput, mode, kem: { secret, hash } })),
  }
}

function hexOf(step: { rootKey: Uint8Array, chainKey: Uint8Array, nextHeaderKey: Uint8Array }): object {
  const { rootKey, chainKey, nextHeaderKey } = step
  return { newRootKey: hex(rootKey), chainKey: hex(chainKey), nextHeaderKey: hex(nextHeaderKey) }
}

function chainStep({ keySchedule }: PartModules): object {
  const chainKey = bytes('chain key')
  return {
    chainKey: hex(chainKey),
    messageKey: hex(keySchedule.nextMessageKey(chainKey)),
    nextChainKey: hex(keySchedule.nextChainKey(chainKey)),
  }
}

function message(modules: PartModules, mode: ChainMode): object {
  const keys = {
    headerKey: bytes('header key'), messageKey: bytes('message key'), binding: bytes('binding'),
  }
  const nonce = bytes('header nonce', 12)
  const header: Header = {
    mode,
    ratchetKey: bytes('ratchet key'),
    previousCount: 258,
    number: 65_539,
    salt: bytes('salt', 16),
    kem: bytes(`kem part ${mode}`, modules.kemStep.kemPartBytes(mode)),
  }
  const [plaintext, ad] = [utf8('hello'), utf8('the caller\'s')]
  const sealed = modules.header.sealMessage(keys, { header, nonce, plaintext, ad, prefix: new Uint8Array(0) })
  return {
    headerKey: hex(keys.headerKey),
    messageKey: hex(keys.messageKey),
    binding: hex(keys.binding),
    headerNonce: hex(nonce),
    header: {
      ...header, ratchetKey: hex(header.ratchetKey), salt: hex(header.salt), kem: hex(header.kem),
    },
    plaintext: hex(plaintext),
    ad: hex(ad),
    message: hex(sealed),
  }
}

/** Steps that offer, up to four periods. */
function schedule({ kemStep }: PartModules, first: number): object {
  const binding = concat(Uint8Array.of(first), new Uint8Array(31))
  const steps = Array.from({ length: 128 }, (_, step) => step)
  return {
    bindingFirstByte: first,
    offers: steps.filter((step) => kemStep.modeOfStep(step, binding) === 1),
    answers: steps.filter((step) => kemStep.modeOfStep(step, binding) === 2),
  }
}

/** A text to two devices. The wraps are not session messages here: those are in the scenarios. */
function envelope({ index: { crypto }, content, sealed, envelope: { createEnvelope } }: PartModules): object {
  const made = content.sealContent({
    messageId: hex(bytes('message id', 16)) as MessageId,
    sentAtMs: 1_767_225_600_000,
    sequence: 7,
    body: { type: 'text', text: 'hello' },
  }, random('content key'))
  const device = (name: string): DeviceId => hex(bytes(name, 16)) as DeviceId
  const entries = ['one', 'other'].map((name) => ({
    recipientDevice: device(name), wrap: bytes(`wrap of ${name}`, 135),
  }))
  const sealKey = bytes('seal key')
  const { content: contentBytes, contentKey, digest } = made
  const whole = { senderDevice: device('sender'), entries, deviceList: undefined, content: contentBytes }
  const ciphertext = sealed.sealMessage(whole, sealKey, random('seal nonce'))
  const writeKeys = crypto.signingKeyPair(bytes('write seed'))
  const { publicKey: readKey } = crypto.signingKeyPair(bytes('read seed'))
  return {
    messageId: hex(bytes('message id', 16)),
    contentKey: hex(contentKey),
    content: hex(contentBytes),
    wrapAd: hex(digest),
    senderDevice: whole.senderDevice,
    entries: entries.map(({ recipientDevice, wrap }) => ({ recipientDevice, wrap: hex(wrap) })),
    sealKey: hex(sealKey),
    ciphertext: hex(ciphertext),
    writeSeed: hex(bytes('write seed')),
    readKey: hex(readKey),
    expiryHour: 500_000,
    envelope: hex(createEnvelope({ writeKeys, readKey, expiryHour: 500_000, ciphertext })),
  }
}
