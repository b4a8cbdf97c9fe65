/**
 * Every bound of openIM in one place, with unit and reason. What comes from the network is refused
 * above these; what we send stays below them.
 */

const second = 1_000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

export const limits = {
  // Envelopes and inboxes
  /** Size classes of an envelope's ciphertext; a watcher learns the class, not the length. */
  sizeClassesBytes: [512, 2_048, 4_096, 16_384, 65_536],
  /** The largest class plus keys, expiry and signature. */
  envelopeBytesMax: 65_536 + 256,
  /** Offline messages wait this long (DESIGN §6); a mailbox that nobody empties must end. */
  envelopeTtlMs: 14 * day,
  /** Clock skew between honest nodes that we put up with. */
  clockSkewMs: 120 * second,
  /** A contact's inbox while the owner is away: about 10,000 short messages. */
  boxItemsMax: 20_000,
  boxBytesMax: 32 * 1024 * 1024,
  /** An inbox opened by one invite: a few attempts of one person. */
  introBoxItemsMax: 32,
  introBoxBytesMax: 512 * 1024,
  /** Replicas besides home, and how many must have it before "stored" is said (DESIGN §6). */
  replicas: 5,
  replicasNeeded: 3,
  homesMax: 4,
  replicasMax: 8,

  // Storage lent to others
  /** Whole budget for other people's mail unless the configuration says otherwise. */
  lentBytesMax: 512 * 1024 * 1024,
  /** Share of it for owners we do not know, and for one of them. */
  lentToStrangersShare: 0.5,
  lentPerOwnerBytesMax: 64 * 1024 * 1024,
  leaseTtlMs: 30 * day,

  // Deposits and reads between nodes
  depositItemsMax: 64,
  /** Body of one service call; a link frame carries it in chunks. */
  callBodyBytesMax: 1024 * 1024,
  fetchItemsMax: 256,
  fetchBytesMax: 512 * 1024,
  /** How far a signed request's time may lie off. */
  proofSkewMs: 120 * second,

  // Location records
  locationContentBytes: 1_024,
  locationTtlMs: 48 * hour,
  /** Nodes that hold a record, and how many are asked at once by a reader. */
  locationHolders: 8,
  locationReaders: 3,
  locationHedgeMs: 120,
  locationRepublishMs: 40 * minute,
  locationRecordsMax: 50_000,
  locationRecordsPerPeerMax: 2_000,

  // Directory
  descriptorBytesMax: 2_048,
  descriptorTtlMs: 6 * hour,
  descriptorRepublishMs: 60 * minute,
  descriptorsMax: 10_000,

  // Shelves (prekeys)
  shelfStaticBytesMax: 16_384,
  shelfOneTimeBytesMax: 4_096,
  shelfOneTimeMax: 64,
  /** One-time prekeys laid out at each holder. */
  shelfOneTimePerHolder: 8,
  shelvesMax: 10_000,

  // Device sessions
  frameBytesMax: 256 * 1024,
  /** Noise messages are at most 65,535 bytes (Noise §3). */
  noiseMessageBytesMax: 65_535,
  /** Unacknowledged frames kept for a resume, per session. */
  resendBytesMax: 4 * 1024 * 1024,
  resendFramesMax: 4_096,
  /** A session waits this long for its device to come back. */
  sessionResumeMs: 10 * minute,
  handshakeMs: 10 * second,
  keepAliveMs: 30 * second,
  devicesMax: 16,

  // Ratchet (notes on libsignal and vodozemac: same orders of magnitude)
  skippedKeysPerChainMax: 2_000,
  skippedKeysMax: 4_000,
  receivingChainsMax: 5,
  chainJumpMax: 25_000,
  archivedSessionsMax: 8,

  // Links between nodes
  linkFrameBytesMax: 65_536,
  linkQueueBytesMax: 1024 * 1024,
  linkCallsMax: 1_024,
  linkHeartbeatMs: 15 * second,
  linkDeadMs: 40 * second,

  // People
  textBytesMax: 32 * 1024,
  nameBytesMax: 64,
  contactsMax: 10_000,
  outboxMax: 100_000,
  /** A message waits this long for the ones before it, so that order is kept. */
  gapWaitMs: 60 * second,
  inviteTtlMs: 7 * day,
} as const
