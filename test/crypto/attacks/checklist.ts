/**
 * The known attacks on what `crypto/` and the client do, and the tests that stand for each:
 *
 * | | attack | tests are in |
 * |---|---|---|
 * | 1 | replay of messages and first messages | replay, clients |
 * | 2 | floods out of order, forged headers | floods, ../ratchet |
 * | 3 | stolen keys: impersonation, reading, healing | compromise |
 * | 4 | misbinding: keys, devices, bundles, words under a wrong name | misbinding, clients, devices-owed |
 * | 5 | X25519 keys of small order, everywhere | keys, ../ratchet |
 * | 6 | Ed25519 keys and signatures that libraries disagree on | keys |
 * | 7 | malleable signatures | keys |
 * | 8 | prekeys used up, or handed out twice | clients, shelf-service |
 * | 9 | downgrade: suite, version, stripped or relabelled prekeys | misbinding, ../ratchet-kem |
 * | 12 | states that go back, clones, sends before durable | rollback, clients-crash, client/repair |
 * | 13 | crashes while receiving | rollback, clients-crash, client/storm |
 * | 14 | both begin at once; storms of resets | clients, ../secure-session, client/first-contact |
 * | 15 | hostile bytes in decoders; secrets in what prints | secrets, fuzz |
 * | 16 | backends that differ; long runs in bounded memory | ../secure-session-model, -soak |
 *
 * Numbers are stable names; 10 (onion packets) and 11 (groups) belong to what is not built yet.
 * checklist.test.ts holds that every name below is a test, and every test of this folder is below.
 * ../mutations/ takes defences away and shows that these tests notice.
 */

export interface Attack {
  readonly number: number
  /** Files from test/, without `.test.ts`, and the names of their tests; `*` is any text. */
  readonly tests: Readonly<Record<string, readonly string[]>>
}

export const checklist: readonly Attack[] = [
  {
    number: 1,
    tests: {
      'crypto/attacks/replay': [
        'a recorded message is a duplicate in its chain, in later chains and after a restart',
        'a recorded message of a chain that is long forgotten is not read either',
        'a first message that comes again at any later time begins no second session',
        'a first message that comes again does not take the place of the session it began',
        'a device that lost its session takes no first message whose one-time prekeys were used',
        'a message that comes back to its sender, or to another device, is not read',
      ],
      'crypto/attacks/clients': [
        'a ciphertext that comes again in a fresh envelope is told and not shown again',
        'a first message that comes again in a fresh envelope begins no second session',
      ],
    },
  },
  {
    number: 2,
    tests: {
      'crypto/attacks/floods': [
        'a gap above the limit costs a few primitives and leaves no trace',
        'chain after chain with many messages left out fills no more than the limit',
        'no more chains are kept than the limit, however many miss a message',
        'an altered message that would step, skip or end a chain moves nothing',
        'random bytes cost the same few primitives each and move nothing',
      ],
      'crypto/ratchet': ['refuses a header with the largest number or count of the chain before, at once'],
    },
  },
  {
    number: 3,
    tests: {
      'crypto/attacks/compromise': [
        'who has all of a device\'s keys but the * one cannot read a first message',
        'who lacks a device\'s DH key cannot pose as it, even with the victim\'s own identity keys',
        'a stolen signed prekey lets its thief pose as others to its owner until it is rotated',
        'a stolen session state reads nothing older, and nothing after one exchange',
        'who answered with a stolen state is found out by the next message of the real device',
      ],
    },
  },
  {
    number: 4,
    tests: {
      'crypto/attacks/misbinding': [
        'a bundle under another identity is refused, whole or in part',
        'somebody who signs another\'s DH key as their own does not come to speak in that session',
        'an initiator that takes over another\'s DH key, or its whole identity, is not believed',
        'no byte of an initial header can be changed, of a known handshake neither',
        'a session stays with its device, whoever offers a bundle or a handshake for it',
        'a device meets neither itself nor an identity that borrows a key of it',
        'a message that was made for another conversation is not read',
        'nobody lists a device that did not agree, or agreed to another account or key',
        'an older device list is a rollback, and a second one of the same number an alarm',
      ],
      'crypto/attacks/clients': [
        'a contact request under a list that does not name its device makes no contact',
        'a contact request that is moved to the box of another invite makes no contact',
      ],
      'protocol/client/devices-owed': [
        'a linked device cannot speak for the primary by passing on what it never said',
      ],
    },
  },
  {
    number: 5,
    tests: {
      'crypto/attacks/keys': [
        'every backend gives no secret for an X25519 key of small order',
        'an X25519 key of small order is refused in every place of a bundle',
        'an X25519 key of small order is refused in every place of a first message',
        'an X25519 key of small order is refused in every place of the channel',
      ],
      'crypto/ratchet': ['refuses a ratchet key of small order in a header'],
    },
  },
  {
    number: 6,
    tests: {
      'crypto/attacks/keys': [
        'an Ed25519 key that libraries disagree on is refused wherever one comes in',
        'no signature verifies under a key or with a commitment of small order',
        'a signature with S + L is not taken for a second one',
      ],
    },
  },
  {
    number: 7,
    tests: {
      'crypto/attacks/keys': ['a second valid signature makes no other envelope and no other device list'],
    },
  },
  {
    number: 8,
    tests: {
      'crypto/attacks/clients': [
        'with every one-time prekey taken strangers still get through, and shelves fill again',
        'a one-time prekey that is handed out twice serves one; the other gets through later',
      ],
      'crypto/attacks/clients-crash': [
        'the one-time prekeys of a first message go with the batch that stores its session',
      ],
      'node/messenger/shelf-service': [
        'a crash may lose a one-time blob and never gives it to two people',
        'gives thirty one-time blobs an hour, also across an upkeep, and more in the next',
      ],
      'protocol/client/prekeys': [
        'counts sessions that began without a one-time prekey, and replaces a worn prekey sooner',
      ],
    },
  },
  {
    number: 9,
    tests: {
      'crypto/attacks/misbinding': [
        'a last-resort prekey cannot be passed off as a one-time one, nor the other way round',
        'a bundle without a whole ML-KEM key, or with somebody else\'s, is refused',
        'a prekey stripped or swapped on the way gives the two ends different keys',
        'another version or kind of message, and another suite, opens nothing',
      ],
      'crypto/ratchet-kem': [
        'a peer that leaves the offer out, or does not answer one, is not read',
        'a peer that offers or answers out of turn is not read',
        'an answer to another offer, or with another key beside the same DH, is not read',
      ],
    },
  },
  {
    number: 12,
    tests: {
      'crypto/attacks/rollback': [
        'a restored state that sends again gives no two-time pad',
        'two states from one snapshot share no body key and no header nonce',
        'a cloned device shows by counters that come twice, and a new session shuts it out',
        'a new session of the other side shuts a clone out as well, once the device answered',
        'a device that goes back behind a ratchet step is refused, reported, and healed by a reset',
        'a stolen state of before writes late mail for the life of a letter, and never after',
        'a clock that was ahead for a while keeps no superseded session longer',
        'of two sessions begun at once both last through any silence, and one ends once left',
      ],
      'crypto/attacks/clients': [
        'a client reads nothing in a session that was superseded longer ago than a letter lives',
      ],
      'crypto/attacks/clients-crash': [
        'a client that dies as a message leaves never uses its place in the chain again',
      ],
      'protocol/client/repair': ['brings everything in the end when the * goes back to an older backup'],
    },
  },
  {
    number: 13,
    tests: {
      'crypto/attacks/rollback': [
        'a message whose batch was lost in a crash is read again, once',
        'a first message whose batch was lost in a crash is read again, with its prekeys',
      ],
      'crypto/attacks/clients-crash': ['a client that dies * reads everything once'],
      'protocol/client/storm': [
        'loses and doubles nothing by a crash between any two writes of a first contact',
      ],
    },
  },
  {
    number: 14,
    tests: {
      'crypto/attacks/clients': [
        'messages that cannot be read make a client begin anew at most once in ten minutes',
        'a storm of new sessions is refused above the limit of an hour',
        'a storm of new sessions does not make a client send everything again for each',
      ],
      'crypto/secure-session': ['both may start at once: everything is read and both end in one session'],
      'protocol/client/first-contact': ['makes one contact each when both add each other at once'],
    },
  },
  {
    number: 15,
    tests: {
      'crypto/attacks/secrets': [
        'the search finds a secret in every form that printing gives it',
        'every class of crypto/ that holds a secret has a probe here, or a reason',
        'key pairs of every backend show their public key and nothing else',
        'the channel shows none of its keys, in the handshake and after',
        'a session, and what it refuses, show nothing of its state',
        'a vault that does not open tells nothing of passphrase, key or content',
        'a client logs, tells and throws no secret in a life with faults',
      ],
      'fuzz/frames': ['* gives back what it reads, and refuses all else with a code'],
      'fuzz/objects': ['no decoder of crypto/ and protocol/ is forgotten'],
    },
  },
  {
    number: 16,
    tests: {
      'crypto/secure-session-model': [
        'devices on different backends understand each other',
        '* parties of two devices read each message once or report it, through *',
      ],
      'crypto/secure-session-soak': [
        '60,000 messages among four and six devices are read once or reported, in bounded memory',
      ],
    },
  },
]
