/**
 * Bounds of sessions. They stand here and not in protocol/limits.ts, because `crypto/` imports
 * nothing above it. Orders of magnitude as in other Double Ratchet implementations, seen from our
 * inboxes: one contact's inbox holds at most 20,000 messages.
 */
export const ratchetLimits = {
  /**
   * Messages of one chain that may be missing before one that arrives: a full inbox, lost. Walking
   * that far costs one HMAC a message, about 50 ms, and only the contact itself can ask for it.
   */
  chainJumpMax: 25_000,
  /** Keys kept for missing messages of one chain, 32 bytes each; the oldest go first. */
  skippedKeysPerChainMax: 2_000,
  /** The same over all chains of one session: 144 KiB when stored. */
  skippedKeysMax: 4_000,
  /** Chains before the current one that are kept whole, so that doubles are told from strangers. */
  recentChainsMax: 5,
  /**
   * Older chains stay while messages of theirs are missing, at most this many: receipts turn the
   * ratchet several times a second, so a message one second late may be dozens of chains behind.
   */
  pastChainsMax: 256,
  /**
   * A whole ML-KEM-768 key travels once in so many turns (kem-step.ts): 2.3 kB in 32 chains. A turn
   * is a message and its receipt, so a stolen state is out of a quantum computer's reach after some
   * dozen messages; at every turn short messages would cost four times the room.
   */
  kemPeriodTurns: 16,
  /** Sessions of one pair of devices kept behind the current one. */
  archivedSessionsMax: 8,
  /**
   * Handshakes of one pair that are remembered, 37 bytes each, so that none runs twice. Honest
   * devices begin anew some times in a lifetime; what happens above: secure-session.ts.
   */
  seenHandshakesMax: 64,
} as const
