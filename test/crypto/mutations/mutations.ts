/**
 * Defences taken out one at a time, and the named test of ../attacks/ that must notice. A test that
 * stays green without its defence proves nothing. When code moves, its text here moves with it:
 * mutations.test.ts says which one no longer stands exactly once in its file.
 */
import type { Mutant } from './mutant.ts'

export interface Mutation extends Mutant {
  /** What is taken out. */
  readonly defence: string
  /** File in ../attacks/ and name of the test that must fail. */
  readonly suite: string
  readonly test: string
}

const derivation = {
  file: 'crypto/handshake/pqxdh.ts',
  from: 'concat(domain, ...dhOutputs, input.kemSecret)',
}
const without = (at: number): string =>
  `concat(domain, ...dhOutputs.filter((_, at) => at !== ${at}), input.kemSecret)`

export const mutations: readonly Mutation[] = [
  {
    defence: 'a replayed first message is known by its base key',
    file: 'crypto/secure-session.ts',
    from: 'if (existing !== undefined && existing.#knows(header.baseKey)) {',
    to: 'if (false) {',
    suite: 'replay',
    test: 'a first message that comes again at any later time begins no second session',
  },
  {
    defence: 'the jump in a chain is bounded',
    file: 'crypto/ratchet/receiving-chain.ts',
    from: 'if (number - this.#next > ratchetLimits.chainJumpMax) return \'tooFar\'',
    to: '',
    suite: 'floods',
    test: 'a gap above the limit costs a few primitives and leaves no trace',
  },
  {
    defence: 'a message is tried before anything changes',
    file: 'crypto/ratchet/ratchet.ts',
    from: 'chain.discard(plan.value)\n      return opened\n    }\n    chain.commit(plan.value)',
    to: 'chain.commit(plan.value)\n      return opened\n    }\n    chain.commit(plan.value)',
    suite: 'floods',
    test: 'an altered message that would step, skip or end a chain moves nothing',
  },
  {
    defence: 'kept keys are bounded over all chains of a session',
    file: 'crypto/ratchet/ratchet.ts',
    from: 'if (excess <= 0) return',
    to: 'return',
    suite: 'floods',
    test: 'chain after chain with many messages left out fills no more than the limit',
  },
  {
    defence: 'DH1: the initiator\'s identity key',
    ...derivation,
    to: without(0),
    suite: 'compromise',
    test: 'who lacks a device\'s DH key cannot pose as it, even with the victim\'s own identity keys',
  },
  {
    defence: 'DH2: the responder\'s identity key',
    ...derivation,
    to: without(1),
    suite: 'compromise',
    test: 'who has all of a device\'s keys but the identity one cannot read a first message',
  },
  {
    defence: 'DH4: the one-time prekey',
    ...derivation,
    to: without(3),
    suite: 'compromise',
    test: 'who has all of a device\'s keys but the oneTime one cannot read a first message',
  },
  {
    defence: 'the KEM secret',
    ...derivation,
    to: 'concat(domain, ...dhOutputs)',
    suite: 'compromise',
    test: 'who has all of a device\'s keys but the kem one cannot read a first message',
  },
  {
    defence: 'the responder\'s signing key in the transcript',
    file: 'crypto/handshake/pqxdh.ts',
    from: 'identity.signingKey, identity.dhKey,\n    u32Bytes',
    to: 'identity.dhKey,\n    u32Bytes',
    suite: 'misbinding',
    test: 'somebody who signs another\'s DH key as their own does not come to speak in that session',
  },
  {
    defence: 'the signing key vouches for the DH key of an initiator',
    file: 'crypto/handshake/pqxdh.ts',
    from: 'if (!identityHolds(header))',
    to: 'if (false)',
    suite: 'misbinding',
    test: 'an initiator that takes over another\'s DH key, or its whole identity, is not believed',
  },
  {
    defence: 'a device does not talk to itself',
    file: 'crypto/handshake/pqxdh.ts',
    from: 'if (isOwn(own, bundle.identity))',
    to: 'if (false)',
    suite: 'misbinding',
    test: 'a device meets neither itself nor an identity that borrows a key of it',
  },
  {
    defence: 'a device agrees to be listed',
    file: 'protocol/account.ts',
    from: 'if (!crypto.verify({ publicKey: device.signingKey, message, signature: device.proof })) {',
    to: 'if (false) {',
    suite: 'misbinding',
    test: 'nobody lists a device that did not agree, or agreed to another account or key',
  },
  {
    defence: 'an older device list is kept out',
    file: 'protocol/account.ts',
    from: 'if (step < 0) return { order: \'rollback\' }',
    to: 'if (step < 0) return { order: \'newer\', chained: false }',
    suite: 'misbinding',
    test: 'an older device list is a rollback, and a second one of the same number an alarm',
  },
  {
    defence: 'one-time and last-resort KEM prekeys have labels of their own',
    file: 'crypto/handshake/prekeys.ts',
    from: 'return oneTime ? labels.oneTimeKemPrekey : labels.lastResortKemPrekey',
    to: 'return labels.lastResortKemPrekey',
    suite: 'misbinding',
    test: 'a last-resort prekey cannot be passed off as a one-time one, nor the other way round',
  },
  {
    defence: 'an envelope id does not cover the signature',
    file: 'protocol/envelope.ts',
    from: 'const content = encoded.subarray(0, encoded.length - signatureBytes)',
    to: 'const content = encoded',
    suite: 'keys',
    test: 'a second valid signature makes no other envelope and no other device list',
  },
  {
    defence: 'Ed25519 keys are free of small-order parts',
    file: 'crypto/ed25519-keys.ts',
    from: '.isTorsionFree()',
    to: '.isSmallOrder() === false',
    suite: 'keys',
    test: 'an Ed25519 key that libraries disagree on is refused wherever one comes in',
  },
  {
    defence: 'sixteen random bytes in the header make each message key its own',
    file: 'crypto/ratchet/header.ts',
    from: 'nonce.set(salt)',
    to: '',
    suite: 'rollback',
    test: 'a restored state that sends again gives no two-time pad',
  },
  {
    defence: 'a handshake of the other device supersedes older sessions',
    file: 'crypto/secure-session.ts',
    from: 'for (const entry of this.#entries) if (entry.pendingHeader === undefined) this.#leave(entry)',
    to: '',
    suite: 'rollback',
    test: 'a cloned device shows by counters that come twice, and a new session shuts it out',
  },
  {
    defence: 'superseded sessions end with time',
    file: 'crypto/secure-session.ts',
    from: 'if (!entry.superseded || ageMs <= keptMs) continue',
    to: 'continue',
    suite: 'rollback',
    test: 'a stolen state of before writes late mail for the life of a letter, and never after',
  },
  {
    defence: 'a contact request names the box of its invite',
    file: 'protocol/client/requests.ts',
    from: 'if (body.box !== intro.box)',
    to: 'if (false)',
    suite: 'clients',
    test: 'a contact request that is moved to the box of another invite makes no contact',
  },
  {
    defence: 'a client ends superseded sessions before it reads',
    file: 'protocol/client/unwrap.ts',
    from: 'existing?.expire({ nowMs: context.clock.now(), keptMs: limits.supersededSessionMs })',
    to: '',
    suite: 'clients',
    test: 'a client reads nothing in a session that was superseded longer ago than a letter lives',
  },
  {
    defence: 'the initial header is bound to the message behind it',
    file: 'crypto/secure-session.ts',
    from: 'return concat(prefix, ad)',
    to: 'return ad',
    suite: 'misbinding',
    test: 'no byte of an initial header can be changed, of a known handshake neither',
  },
  {
    defence: 'a batch is durable before its effects',
    file: 'protocol/client/batch.ts',
    from: 'assert(await kv.write(this.#operations), \'a batch without checks is never refused\')',
    to: 'void kv.write(this.#operations).catch(() => {})',
    suite: 'clients-crash',
    test: 'a client that dies as a message leaves never uses its place in the chain again',
  },
  {
    defence: 'ratchets are in the batch of the turn that moved them',
    file: 'protocol/client/turns.ts',
    from: 'this.batch.putBytes(keys.session(this.id, device)',
    to: 'void (() => {})(keys.session(this.id, device)',
    suite: 'clients-crash',
    test: 'a client that dies before it acknowledges what is durable reads everything once',
  },
  {
    defence: 'a used one-time prekey is deleted',
    file: 'protocol/client/prekeys.ts',
    from: 'consume(batch: Batch, used: PrekeyIds): void {',
    to: 'consume(batch: Batch, used: PrekeyIds): void {\n    return',
    suite: 'clients-crash',
    test: 'the one-time prekeys of a first message go with the batch that stores its session',
  },
  {
    defence: 'a session is repaired at most once in ten minutes',
    file: 'protocol/client/introductions.ts',
    from: '- repairedAtMs >= limits.sessionRepairMs',
    to: '- repairedAtMs >= 0',
    suite: 'clients',
    test: 'messages that cannot be read make a client begin anew at most once in ten minutes',
  },
]
