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
  /** Above the classes: Padmé steps, up to what one frame of a device session carries. */
  ciphertextBytesMax: 249_856,
  /** The largest ciphertext plus keys, expiry and signature. */
  envelopeBytesMax: 249_856 + 256,
  /** What an inbox takes: the largest class. Above it are pieces of files, in file boxes. */
  mailBytesMax: 65_536 + 256,
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

  // Household: processes on one database
  /** Hints of one call; when more wait they become one, `everything`. */
  householdHintsMax: 512,
  /** Processes of one household that are heard; devices are told of `homesMax` of them. */
  householdMembersMax: 16,
  /** Beats that members write; everything below is counted in them. */
  householdBeatMs: 2 * second,
  /** Work that must be single passes on when its holder has said nothing for so long. */
  householdLeaseMs: 8 * second,
  /** What a holder stops before its lease is over, for a clock that runs slower than the others'. */
  householdLeaseMarginMs: 1 * second,
  /** What a silent member had to send is sent by another after this. */
  householdAdoptMs: 15 * second,
  /** A silent member stays listed for so long: a reboot changes no inbox card. */
  householdGoneMs: 1 * day,
  /** Without any hint everything is looked at this often. */
  householdPollMs: 30 * second,

  // Storage lent to others
  /** Whole budget for other people's mail unless the configuration says otherwise. */
  lentBytesMax: 512 * 1024 * 1024,
  /** Share of it for owners we do not know, and for one of them. */
  lentToStrangersShare: 0.5,
  lentPerOwnerBytesMax: 64 * 1024 * 1024,
  /** Share of the budget that files may take, so that messages always find room; and for one owner. */
  lentToFilesShare: 0.5,
  lentFilesPerOwnerBytesMax: 128 * 1024 * 1024,
  leaseTtlMs: 30 * day,

  // Files (attachments)
  /** The whole length; larger ones are for other tools. */
  fileBytesMax: 1024 * 1024 * 1024,
  /** Files up to this go in pieces of the largest size class, larger ones in the largest ciphertext. */
  fileSmallBytesMax: 1024 * 1024,
  /** Pieces of one file: the largest file in the largest pieces needs 4,299. */
  filePiecesMax: 8_192,
  /** Room of a file box: the largest file, padded, and 500 bytes around each piece. */
  fileBoxBytesMax: (1024 + 4) * 1024 * 1024,
  fileNameBytesMax: 255,
  mediaTypeBytesMax: 127,
  /** File boxes one account keeps at home, and their room together. */
  fileBoxesMax: 256,
  fileBoxesBytesMax: 4 * 1024 * 1024 * 1024,
  /** Signed receipts of holders in one frame to the device. */
  fileProofsMax: 64,
  /** Pieces under way at once, per file: what a transfer costs in memory. */
  filePiecesUnderWay: 4,
  /** Files under way at once, each way; the others wait. */
  filesUnderWay: 2,
  /** Reads of file boxes under way at once for one account: each may hold two pieces in memory. */
  fileFetchesMax: 16,
  /** A holder that takes nothing for so long is replaced while a file is being sent. */
  fileHolderPatienceMs: minute,
  /** A checkpoint of what has arrived is written after so many bytes: what a crash fetches again. */
  fileCheckpointBytes: 4 * 1024 * 1024,
  /** Progress is told to the app no more often. */
  fileProgressMs: 200,

  // Deposits and reads between nodes
  depositItemsMax: 64,
  /** Body of one service call; a link frame carries it in chunks. */
  callBodyBytesMax: 1024 * 1024,
  fetchItemsMax: 256,
  fetchBytesMax: 512 * 1024,
  /** How far a signed request's time may lie off. */
  proofSkewMs: 120 * second,

  // Location records
  /** Fixed, so that its length tells nothing: 4 homes, 8 replicas and 16 shelves need 1,707. */
  locationContentBytes: 1_792,
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
  /** Multiaddrs a node announces; a DNS name of 63 with a WebSocket path fits. */
  nodeAddressesMax: 8,
  nodeAddressBytesMax: 128,
  descriptorTtlMs: 6 * hour,
  descriptorRepublishMs: 60 * minute,
  descriptorsMax: 10_000,

  // Shelves (prekeys)
  shelfStaticBytesMax: 16_384,
  /** The static blob is padded to a multiple of this: a holder cannot count devices by its length. */
  shelfStaticStepBytes: 4_096,
  shelfOneTimeBytesMax: 4_096,
  shelfOneTimeMax: 64,
  /** One-time prekeys laid out at each holder. */
  shelfOneTimePerHolder: 8,
  shelvesMax: 10_000,
  /** Of one home: a household of many devices. */
  shelvesPerHomeMax: 256,

  // Device sessions
  frameBytesMax: 256 * 1024,
  /** Noise messages are at most 65,535 bytes (Noise §3). */
  noiseMessageBytesMax: 65_535,
  /** Unacknowledged frames kept for a resume, per session. */
  resendBytesMax: 4 * 1024 * 1024,
  resendFramesMax: 4_096,
  /** A session waits this long for its device to come back. */
  sessionResumeMs: 10 * minute,
  /** What a receiver takes in before its application has consumed it: four of the largest frames. */
  sessionWindowBytes: 1024 * 1024,
  /** Added to each frame's bytes when windows are counted, so that many tiny ones are bounded too. */
  sessionFrameOverheadBytes: 64,
  /** Sends that wait for the window; callers who await each one never have more than one. */
  sessionQueueFramesMax: 1_024,
  sessionQueueBytesMax: 4 * 1024 * 1024,
  /** An acknowledgement waits this long for company. */
  sessionAckMs: 50,
  /** Sessions of one node, live or waiting for their device. */
  sessionsMax: 10_000,
  /** A session stops feeding a link above the first and goes on below the second. */
  deviceLinkHighBytes: 256 * 1024,
  deviceLinkLowBytes: 64 * 1024,
  /** Connection, Noise handshake; and again for the greeting. */
  handshakeMs: 10 * second,
  /** A device that knows several ways to its node tries the next one after this (RFC 8305 §5). */
  dialStaggerMs: 250,
  keepAliveMs: 30 * second,
  /** A ping unanswered for this long means a dead link. */
  pongMs: 10 * second,
  /** What is queued on a closed link may still leave for this long. */
  linkLingerMs: 5 * second,
  /** Back-off of a device that lost its node. */
  reconnectMinMs: 250,
  reconnectMaxMs: 30 * second,
  devicesMax: 16,
  /** Accounts that one node hosts besides its owner's: a family, an association; each is a client at work. */
  hostedAccountsMax: 100,

  // Doors for devices
  connectionsMax: 12_288,
  /** A household or a company behind one address. */
  connectionsPerAddressMax: 256,
  /** Connections that a door lets in, of one address (a household after a power cut) and of all. */
  connectsPerAddressPerSecond: 20,
  connectsPerAddressBurst: 256,
  connectsPerSecond: 1_000,
  connectsBurst: 4_000,
  /** Addresses whose rate is remembered. */
  connectRatesMax: 4_096,
  /** Connections whose device is not proven yet; each may cost four X25519 operations. */
  handshakesMax: 256,
  handshakesPerAddressMax: 32,
  /** HTTP request head at a door: WebSocket upgrades need some 500 bytes, proxies add as much. */
  doorHeaderBytesMax: 8 * 1024,
  /** A WebSocket message is one Noise message; browsers may send it in some pieces. */
  webSocketFragmentsMax: 64,
  /** Pings that a WebSocket client may send; our own keep-alive needs none. */
  webSocketPingsPerSecond: 4,
  webSocketPingsBurst: 32,
  /** Devices that a proxy may bring over one HTTP/2 connection. */
  http2StreamsMax: 1_024,
  /** Requests of one HTTP/2 connection that end before a device is proven. */
  http2UnprovenPerSecond: 20,
  http2UnprovenBurst: 256,
  /** An HTTP/2 connection without a stream is closed after this. */
  http2IdleMs: 60 * second,
  /** Certificate files are looked at this often. */
  tlsReloadMs: minute,
  /** 16 devices with the longest names need 3,306. */
  deviceListBytesMax: 4_096,

  // UDP door
  /** UDP payload: with IPv6 and UDP headers below 1,280, what every path carries (RFC 8200 §5). */
  udpDatagramBytes: 1_200,
  /** Every packet is padded to this, so that the answer to one is never larger than it. */
  udpPacketBytesMin: 48,
  /** What may be sent before the receiver said more: small, for peers that nobody vouched for. */
  udpWindowInitialBytes: 64 * 1024,
  /** The window follows the path up to this: 40 Mbit/s at 200 ms. */
  udpWindowBytesMax: 1024 * 1024,
  /** Pieces of the stream that came out of order; more of them cost more than sending again. */
  udpGapsMax: 1_024,
  /** Received packet numbers remembered for acknowledgements. */
  udpAckRangesMax: 64,
  /** An acknowledgement waits for so many packets, or so long. */
  udpAckPackets: 4,
  udpAckDelayMs: 25,
  /** A handshake is said again after this, doubling. */
  udpRetryMs: 300,
  /** Devices send at least this often: routers forget UDP mappings, some after 30 seconds. */
  udpKeepAliveMs: 25 * second,
  /** Longer than the session's keep-alive takes to find a dead link. */
  udpIdleMs: 60 * second,
  /** Handshakes under way above which an address must be proven first, and tries a second. */
  udpCookieHandshakes: 32,
  udpHandshakesPerSecond: 50,
  /** A cookie is good for this long, at most twice. */
  udpCookieMs: 30 * second,
  /** Answers to packets of connections that we do not know. */
  udpResetsPerSecond: 32,
  /** Probes without an answer after which a device tries a fresh socket: its address may be gone. */
  udpRebindProbes: 3,
  /** Packets under one key: about 1 GB. */
  udpKeyPackets: 2 ** 20,
  /** Forged packets after which a connection ends (RFC 9001 §6.6). */
  udpForgeriesMax: 2 ** 36,
  /** How far behind the newest a packet may come and still be new: about 2 MB under way. */
  udpReplayPackets: 2_048,
  /** Asked of the system for each socket, which may give less; a queue above it is thrown away. */
  udpSocketBytes: 1024 * 1024,

  // Links between nodes
  linkFrameBytesMax: 65_536,
  /** Bytes given to a link's transport and not yet taken by it; above this nothing more is encoded. */
  linkQueueBytesMax: 1024 * 1024,
  /** Calls sent and not yet answered, each way; more of them wait. */
  linkCallsMax: 1_024,
  /** An echo answers with at most this much of what it got. */
  echoBytesMax: 1_024,
  /** Calls to one peer that wait for their turn; a caller that outruns this is refused. */
  linkWaitingCallsMax: 8_192,
  /** Handlers that run at once for one peer: what its replies may cost in memory is this × a body. */
  linkHandlersMax: 64,
  /** Request bytes that may be under way unanswered: twice the largest body, so one always fits. */
  linkWindowBytes: 2 * 1024 * 1024,
  /** One write to the transport: above this batching gains nothing, and heartbeats would wait. */
  linkWriteBytesMax: 64 * 1024,
  /** Refusals carry a code and a short text for logs. */
  refusalCodeBytesMax: 64,
  refusalDetailBytesMax: 512,
  linkHeartbeatMs: 15 * second,
  linkDeadMs: 40 * second,
  /** The peer's first frame after a stream opens. */
  linkHandshakeMs: 5 * second,
  /** With two links to one peer, the one that should stay must answer within this. */
  linkProbeMs: 3 * second,
  /** A link that gives way to another finishes its calls within this. */
  linkRetireMs: 5 * second,
  /** A node that stops waits this long for its peers to take the goodbye. */
  linkByeMs: 250,
  /** An inbound connection on which nobody opens a link is closed after this. */
  linklessMs: 20 * second,
  /** Per peer. A deposit carries up to 64 envelopes, so this is far above honest use. */
  linkCallsPerSecond: 1_000,
  linkCallsBurst: 4_000,
  linkBytesPerSecond: 16 * 1024 * 1024,
  linkBytesBurst: 64 * 1024 * 1024,
  /** Peers whose rates are remembered, so that a new connection does not refill them. */
  linkRatesMax: 4_096,
  /** Dial of one node, all its addresses; and what we remember of somebody's addresses. */
  dialMs: 8 * second,
  peerAddressesMax: 16,
  /** Own retry of bootstrap nodes: doubles from the first to the second, with jitter. */
  bootstrapRetryMinMs: second,
  bootstrapRetryMaxMs: minute,
  /** A node's clean stop; peers that do not answer are cut off then. */
  overlayStopMs: 1_500,
  /** One gossip message: a node descriptor and room to grow. */
  gossipMessageBytesMax: 8 * 1024,

  // Inside an envelope
  /** A content key wrapped for one device; the first message of a session carries its handshake. */
  wrapBytesMax: 1_792,
  /** Message ids in one receipt, per state. */
  receiptIdsMax: 256,
  /** Envelopes asked for again in one message, or answered. */
  askIdsMax: 64,

  // Devices of one account
  /** Inboxes of one contact that are read until nothing can come any more. */
  oldBoxesMax: 8,
  /** Devices that a contact once listed: their late messages are refused by name. */
  formerDevicesMax: 64,
  /** History that a freshly linked device gets: about a week of a busy conversation. */
  historySyncMax: 1_000,
  /** Entries of one page of it, and bytes: the page fits the largest envelope with all wraps. */
  historyPageEntriesMax: 256,
  historyPageBytesMax: 24 * 1024,
  /** Pages for one new device that are on their way at once. */
  historyPagesAhead: 8,
  /** A contact's device list is fetched at most this often for a device that it does not name. */
  deviceListFetchMs: 10 * minute,
  /** Sessions with one device are begun at most this often. */
  sessionBeginMs: 10 * minute,
  /** A message for a sibling is forwarded by the next device when the first one did not for so long. */
  forwardPatienceMs: 5 * minute,
  /** What our other devices have yet to confirm; more of it ends with the oldest. */
  copiesMax: 100_000,
  /** Receipts of one contact that came before the message they are of. */
  earlyReceiptsMax: 1_024,
  /** Mail for inboxes that a sibling has not told us of yet, in memory; the node has it too. */
  strayMailMax: 512,

  // People
  textBytesMax: 32 * 1024,
  nameBytesMax: 64,
  /** Greeting of a stranger's request: a request box holds small entries only. */
  greetingBytesMax: 1_024,
  contactsMax: 10_000,
  outboxMax: 100_000,
  /** A message waits this long for the ones before it, so that order is kept. */
  gapWaitMs: 60 * second,
  inviteTtlMs: 7 * day,

  // Client
  /** Conversations whose ratchets stay in memory; the others are read when needed. */
  cachedThreadsMax: 512,
  /** Requests to the node that may wait for their answers at once, and how long each waits. */
  clientRequestsMax: 256,
  clientRequestMs: 30 * second,
  /** Envelopes handed to the node and not yet accepted by it. */
  submitWindow: 256,
  /** Texts or envelopes of one contact that share one durable write. */
  turnItemsMax: 64,
  /** Envelopes received and not yet taken over, before the session is held up. */
  receiveQueueMax: 512,
  /** Texts that wait for a predecessor, per contact: a full inbox. */
  heldMax: 20_000,
  /** Receipts gather this long, give or take a quarter, so that one message carries many. */
  receiptDelayMs: 75,
  /** A text taken without a receipt is sealed anew after this, 8 times longer each time, so often. */
  receiptPatienceMs: 15 * second,
  repeatsMax: 5,
  /** A session that cannot be read is repaired at most this often. */
  sessionRepairMs: 10 * minute,
  /** A linked device waits this long for the primary to tell of a list that contacts know already. */
  ownListPatienceMs: day,
  /** New sessions that one device of a contact may begin while we have one with it; k an hour. */
  sessionResetsPerHour: 6,
  /** A superseded session reads late mail while there may be some: an envelope's time and an hour. */
  supersededSessionMs: 14 * day + hour,
  /** Messages in which unreadable envelopes are asked for, per contact: one burst, then some an hour. */
  asksBurst: 4,
  asksPerHour: 12,
  /** Envelopes of which a contact gets the message sealed anew because it asked. */
  askAnswersPerHour: 256,
  /** What was asked for and not answered is asked for again after this, doubling up to a day. */
  askRetryMs: hour,
  askRetryMaxMs: day,
  /** Steps towards a contact that failed (look-up, shelf, inbox) are tried again, doubling. */
  errandMinMs: 1 * second,
  errandMaxMs: 5 * minute,
  /** A request that was taken but not answered is made again after this. */
  introductionRetryMs: 6 * hour,
  /** Contacts whose errands run at once. */
  errandsMax: 8,
  /** A change of replicas settles this long before contacts and the location record hear of it. */
  cardSettleMs: 2 * second,
  /** What is due by the calendar (expiry, rotation, renewal, repairs) is looked at this often. */
  clientUpkeepMs: 10 * minute,
  /** A full disk is tried again after this; mail stays at the node meanwhile. */
  receiveRetryMs: 5 * second,
  invitesMax: 100,
  inviteTtlMaxMs: 30 * day,
  /** An invite is given out at once when the node is slow or away. */
  inviteOpenMs: 6 * second,
  /** Signed prekeys are replaced this often; their secrets are kept until nobody can come with them. */
  prekeyRotationMs: 7 * day,
  /** After so many sessions without a one-time prekey they are replaced sooner, if this much has gone by. */
  lastResortUsesMax: 32,
  prekeyRotationMinMs: day,
  /** A holder with this few one-time prekeys left gets new ones. */
  prekeysLow: 2,
  /** Events that an app's loop may leave waiting. */
  eventsWaitingMax: 10_000,
  /** Named reading positions, and records of what could not be read. */
  cursorNameBytesMax: 64,
  unreadableMax: 1_000,
  historyPageMax: 1_000,

  // Linking a device
  /** Of a link code: two fit a QR code of version 5. */
  linkHintsMax: 2,
  linkCodeBytesMax: 256,
  /** A code is good for this long; it is meant to be typed or scanned at once. */
  linkTtlMs: 10 * minute,
  /** A new device that has not reached the node by then was given a wrong or a local address. */
  linkReachMs: 30 * second,
  /** A device request or a link package: 16 devices with the longest names need some 7,000. */
  linkPartBytesMax: 32 * 1024,
  /** What a guest and the device that let it in may say to each other through the node. */
  linkMessagesMax: 64,
  /** Devices of one node that let somebody in at the same time. */
  linkPlacesMax: 256,
  linkMessageBytesMax: 40 * 1024,
  /** Where a linked device looks for its node: each is tried, some ms after the one before. */
  homeAddressesMax: 16,

  // Settings and the control socket of a node
  configBytesMax: 64 * 1024,
  listenAddressesMax: 16,
  bootstrapMax: 64,
  /** Connections to other nodes: what a home router bears, and what a setting may ask for. */
  peersDefault: 64,
  peersMax: 4_096,
  /** A request line: the longest text, each byte escaped as `\u0000`, and some room. */
  controlLineBytesMax: 256 * 1024,
  /** A reply line: a full page of history of the longest texts stays below. */
  controlReplyBytesMax: 64 * 1024 * 1024,
  controlConnectionsMax: 64,
  /** Calls under way on one connection. */
  controlCallsMax: 64,
  /** Replies and events that a slow reader leaves lying; above this it is hung up on. */
  controlQueueBytesMax: 16 * 1024 * 1024,
  passphraseBytesMax: 1_024,

  // Stores
  /** A page that was reloaded waits so long for the one before it to give the store up. */
  pageLockMs: 5_000,
  kvKeyBytesMax: 256,
  kvValueBytesMax: 1024 * 1024,
  /** One atomic batch: half of LevelDB's write buffer. */
  kvBatchBytesMax: 16 * 1024 * 1024,
  /** Proof kept with tombstones: a signed acknowledgement of 256 envelopes is 8.4 KB. */
  tombstoneProofBytesMax: 16 * 1024,
  /** Marks in a page of a digest: 100 KB in memory, and one short query. */
  digestPageMarks: 500,
  /** What goes into one synced commit: bounds its latency and stays below the write buffer. */
  commitBytesMax: 8 * 1024 * 1024,
  commitOperationsMax: 4_096,
  /** Mail in memory that waits for its commit; more is refused, the disk is too slow for it. */
  commitQueueBytesMax: 64 * 1024 * 1024,
  /** A write waits so long for a database that is away, before its caller hears STORE_AWAY. */
  databaseAwayMs: 2_000,
  databaseConnectMs: 3_000,
  /** A hint between processes on one database: small for every database that has them. */
  storeHintBytesMax: 4_096,
  /** Redis reads all it has when it starts: some ten seconds a gigabyte, more on slow disks. */
  databaseLoadMs: 10 * minute,
  /** One statement, also a commit on a slow disk; a server that is frozen is noticed after it. */
  databaseQueryMs: 10_000,
  databaseIdleMs: 60_000,
  /** Readers of one process; PostgreSQL has 100 connections for all by default. */
  databaseConnectionsMax: 8,
  /** Tries of a group of writes that the database gave up for the sake of another. */
  databaseTriesMax: 10,
  /** LevelDB's log: measured 3 times less write amplification than with its 4 MiB. */
  writeBufferBytes: 32 * 1024 * 1024,
  /** Disk space kept in reserve: reopening writes a whole log once more, and half as much again. */
  ballastBytes: 48 * 1024 * 1024,
} as const
