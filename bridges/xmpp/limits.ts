/**
 * Every bound of the XMPP bridge, with unit and reason. What an operator may change is a setting
 * (docs/operate.md); the values here are what it starts from.
 */
export const xmppLimits = {
  /** Characters of one stanza before login, of a client, and of another server (Prosody's defaults). */
  stanzaBeforeLoginMax: 10_000,
  clientStanzaMax: 262_144,
  serverStanzaMax: 524_288,
  /** From the connection to the login; pings and white space do not make it longer. */
  loginMs: 30_000,
  /** Connections that nobody is logged in on: of one address (an IPv6 /64), and in all. */
  strangersPerAddressMax: 50,
  strangersMax: 1_000,
  /** A sender that waited for room goes on below this. */
  lowWaterBytes: 64 * 1024,
  /** An orderly end waits so long for the other end to close, then the socket is cut. */
  streamCloseMs: 5_000,
  /** Open elements; real stanzas have under 15, and saxes takes quadratic time in them. */
  xmlDepthMax: 50,
  /** Elements of one stanza, and attributes of one element. */
  xmlElementsMax: 20_000,
  xmlAttributesMax: 100,
  /** Addresses that are kept parsed, and characters of the longest of them: under 2 MB in all. */
  jidsKeptMax: 2_000,
  jidKeptCharactersMax: 256,
  /** Of one account's roster: entries. Prosody and ejabberd have none; a person has hundreds. */
  rosterItemsMax: 2_000,
  /** Of one roster entry. */
  rosterGroupsMax: 64,
  /** Characters of a contact's name or of a group's. */
  rosterNameCharactersMax: 256,
  /** Bound resources of one account at a time: a family member has a handful of devices. */
  resourcesMax: 32,
  /** People that one session sent directed presence to, so that they hear of its end (RFC 6121 §4.6). */
  directedPresencesMax: 500,
  /** Subscription requests from strangers that wait for an answer, per account. */
  pendingSubscriptionsMax: 200,
  /** Messages held for an account that has no resource, and their bytes; then the sender is told. */
  offlineMessagesMax: 10_000,
  /** Of these, messages from one sender who is not in the roster: a flood fills no mailbox. */
  offlineFromStrangerMax: 50,
  /** Entries of one account's block list. */
  blockedMax: 5_000,
  /** Characters of a private XML record (XEP-0049) and of a vCard, with a picture in it. */
  privateXmlBytesMax: 256 * 1024,
  vcardBytesMax: 256 * 1024,
  /** Records of private XML of one account. */
  privateXmlRecordsMax: 100,
  /** Before the @ of an address of ours; people type it. */
  localpartCharactersMax: 64,
  /** Accounts kept in memory though nobody is logged in. */
  accountsLoadedMax: 1_000,
  /** Requests of the server that wait for an answer, and for how long. */
  serverCallsMax: 2_000,
  serverCallMs: 20_000,
  /** Personal nodes of one account, items of one node, bytes of one item (an avatar is the largest). */
  pepNodesMax: 200,
  pepItemsMax: 1_000,
  pepItemBytesMax: 256 * 1024,
  /** Available devices of contacts that one account's events may go to. */
  pepContactsMax: 5_000,
  /** Receipts for what XMPP devices sent to openIM contacts are passed on so long; mail lives 14 days. */
  sentIdsKeptMs: 16 * 86_400_000,
  /** Messages of one page of an archive, when nobody says how many, and at most; ids asked for by name. */
  archivePageDefault: 50,
  archivePageMax: 100,
  archiveIdsMax: 100,
  /** How often old messages go, so many in one batch, and in one go; then the rest an hour later. */
  archiveExpiryEveryMs: 60 * 60_000,
  archiveExpiryStep: 200,
  archiveExpiryMax: 20_000,
  /** Correspondents whose place in archives is remembered, some 200 bytes each. */
  archivePeersKept: 2_000,
  /** How soon the bridge sees that its process hosts the account now, or no more. */
  hostedLookMs: 2_000,
  /** Accounts on openIM that are opened side by side at the start. */
  hostedBegunAtOnce: 4,
  /** Capability hashes that are kept; a household meets some dozens of clients. */
  capsKnownMax: 2_000,
  /** Of one client; real ones have under a hundred. */
  capsFeaturesMax: 500,
  /** App passwords of one account: one for each device that logs in with one. */
  appPasswordsMax: 32,
  appPasswordNameCharactersMax: 64,
  /** Wrong passwords before anybody waits: people mistype, and clients try twice. */
  loginFailuresFree: 5,
  /** What an address then waits, twice as long each time, and at most. */
  loginWaitMs: 1_000,
  loginWaitMsMax: 15 * 60_000,
  /** By how much at most logins to an account that others guess at are slowed; under a client's time-out. */
  loginDelayMsMax: 5_000,
  /** Failures are forgotten after this long without another. */
  loginForgetMs: 60 * 60_000,
  /** Addresses, and accounts, whose failures are remembered: about 1 MB each. */
  loginRemembered: 10_000,
  /** A token (XEP-0484) logs in for three weeks, and is replaced at the first login after a day. */
  tokenMs: 21 * 86_400_000,
  tokenRotateMs: 86_400_000,
  /** Clients of one account that have a token. */
  tokenClientsMax: 64,
  /** Bytes of the name that a client gives itself (XEP-0388 `<user-agent id>`), a UUID as a rule. */
  clientIdBytesMax: 256,
  /** Failed logins on one stream, then it is closed (RFC 6120 §6.4.5 has 2 to 5). */
  streamLoginsMax: 5,
  /** Clients of one account that are woken by push, and bytes of what each wants published along. */
  pushRegistrationsMax: 32,
  pushOptionsBytesMax: 4_096,
  /** A client that was told and did not come is told again after this, when something more comes. */
  pushAgainMs: 10 * 60_000,
  /** Room for an upload is kept so long for a client that asked; slots of one account, and of all. */
  uploadSlotMs: 5 * 60_000,
  uploadSlotsPerAccountMax: 20,
  uploadSlotsMax: 1_000,
  /** Uploads under way of one account, and of all. */
  uploadsPerAccountMax: 4,
  uploadsMax: 32,
  /** A request over HTTP as a whole (100 MB at 250 kbit/s), and one of which nothing comes or goes. */
  webRequestMs: 60 * 60_000,
  webIdleMs: 60_000,
  uploadExpiryEveryMs: 60 * 60_000,
  // ── Other servers (s2s) ─────────────────────────────────────────────────────────────────────
  /** Of one question to one name server; asked twice. */
  s2sDnsTimeoutMs: 2_500,
  /** Node does not say how long a service record holds; operators change them with hours of notice. */
  s2sDnsKeepMs: 300_000,
  /** A failure of DNS is forgotten soon: it spares us a burst of questions and nothing else. */
  s2sDnsKeepFailureMs: 10_000,
  /** Domains whose answers are kept. */
  s2sDnsKeptMax: 1_000,
  /** Service records of one name that are looked at. */
  s2sServiceRecordsMax: 10,
  /** Addresses of one domain that are tried. */
  s2sTargetsMax: 12,
  /** Domains proven on one stream: a provider's customers share one. */
  s2sDomainsPerStreamMax: 200,
  /** Dialback keys of one stream that are asked about at a time; each is a connection of ours. */
  s2sVerifyingPerStreamMax: 4,
  /** Failed proofs of one stream, then it ends. */
  s2sProofFailuresMax: 5,
  /** An address that does not answer, TLS included where it comes first. */
  s2sConnectMs: 10_000,
  /** The next address is tried beside one that has not answered for so long (RFC 8305 §5). */
  s2sConnectNextMs: 300,
  /** From the first header to proof; a peer asks name servers and servers in between. */
  s2sNegotiationMs: 30_000,
  /** Waits between attempts to reach a server that is down: the first, doubling, and the longest. */
  s2sRetryMs: 1_000,
  s2sRetryMsMax: 60_000,
  /** What nothing but people can mend is not tried again for so long; stanzas are bounced at once. */
  s2sFailureKeptMs: 15_000,
  /** How long a stanza waits for a server that is down: a server that restarts, a router that dials in. */
  s2sMessagePatienceMs: 30 * 60_000,
  /** Requests have somebody waiting, and presence is out of date by then. */
  s2sRequestPatienceMs: 60_000,
  /** Stanzas to one domain that wait or are not acknowledged, and to all; then senders are told. */
  s2sQueueStanzasMax: 2_000,
  s2sQueueTotalMax: 20_000,
  /** Bytes of them all. */
  s2sQueueBytesMax: 64 * 1024 * 1024,
  /** An acknowledgement (XEP-0198) or the answer to a ping; then the stream counts as dead. */
  s2sAckMs: 30_000,
  /** Stanzas of a burst between two requests for acknowledgement: so many may come twice after a kill. */
  s2sAskStanzas: 10,
  /** A server without stream management may have in memory alone what it answered for. */
  s2sVouchedMs: 3_000,
  /** A stream without stanzas is asked whether it lives, and closed: MUC self-pings come every 15 min. */
  s2sIdlePingMs: 5 * 60_000,
  s2sIdleCloseMs: 60 * 60_000,
  /** Domains that we hold streams to; the longest idle goes first. */
  s2sLinksMax: 1_000,
  /** Streams that others hold to us, in all and from one domain. */
  s2sInboundMax: 1_000,
  s2sInboundPerDomainMax: 8,
  /** Questions about dialback keys under way. */
  s2sVerifyingMax: 32,
  /** Stanzas of one stream that are being handled; reading waits above that. */
  s2sHandlingMax: 200,
  /** Stanzas a second from one domain, and what it may save up; reading waits above that. */
  s2sDomainRate: 500,
  s2sDomainBurst: 5_000,
  /** Stanzas a second from one address elsewhere, and to elsewhere from one of ours; refused above that. */
  s2sSenderRate: 20,
  s2sSenderBurst: 1_000,
  /** Addresses whose rate is remembered. */
  s2sSendersKept: 20_000,
  // ── Metadata shield ─────────────────────────────────────────────────────────────────────────
  /** Characters of a batch of stanzas in one message: three bytes each at most, below the longest text. */
  shieldPieceCharactersMax: 10_000,
  /** Pieces of one batch: the largest stanza of a client with room to spare. */
  shieldPiecesMax: 64,
  /** Batches sent to one domain and not known to have arrived. */
  shieldWindowBatches: 64,
  /** Batches whose turn has not come, of one sender; more than its window. */
  shieldHeldMax: 128,
  /** A batch that does not come keeps those behind it waiting for so long. */
  shieldGapMs: 2 * 60_000,
  /** Processes of one sender whose place is remembered: a message lives 14 days, a node restarts daily. */
  shieldEpochsKept: 16,
  /** From a question about another domain's shield to the end of its answer, and bytes of that. */
  shieldFindMs: 10_000,
  shieldAnswerBytesMax: 16 * 1024,
  /** Questions under way; domains of which it is remembered that there was nothing. */
  shieldFindsMax: 32,
  shieldMissingKept: 1_000,
  /** A domain without a shield gets one on some day; who did not answer is asked sooner, if we know it. */
  shieldAbsentKeptMs: 60 * 60_000,
  shieldUnreachableKeptMs: 10 * 60_000,
  shieldKnownUnreachableKeptMs: 15_000,
  /** How long it is believed that an account speaks for a domain. */
  shieldProofMs: 24 * 3_600_000,
  /** A proof younger than this is not asked for again because somebody says something else. */
  shieldProveAnewMs: 60_000,
  /** What came from an account that cannot be proven is kept so long: as messages are. */
  shieldUnprovenMs: 14 * 86_400_000,
  /** What we ask others to insist on, and the longest that we do. */
  shieldPinMs: 30 * 86_400_000,
  shieldPinMsMax: 365 * 86_400_000,
  /** Domains with a shield that are remembered, and domains below one that its account carries. */
  shieldPeersMax: 2_000,
  shieldServicesMax: 20,
  /** An offer to another domain: how long its invite is good, and when the next follows. */
  shieldInviteMs: 24 * 3_600_000,
  shieldIntroduceAgainMs: 5 * 60_000,
  /** Stanzas wait so long for their account to answer ours; then s2s, where it is allowed. */
  shieldIntroductionMs: 30_000,
  /** For so long s2s is used without asking whether there is a shield by now. */
  shieldPlainMs: 60_000,
  /** Offers a second of one address, and of one domain. */
  shieldOfferRate: 0.1,
  shieldOfferBurst: 10,
  /** How often what waits is looked at; when what could not be handled is tried again. */
  shieldSweepMs: 5_000,
  shieldRetryMs: 5_000,
  /** By how much the clocks of two nodes may differ: requests and presence older than their life go. */
  shieldSkewMs: 120_000,
  /** Of one session, sent and not acknowledged, or not taken by the socket: stanzas, bytes. */
  unackedStanzasMax: 10_000,
  sessionBytesMax: 16 * 1024 * 1024,
  /** Stanzas of one client that are being handled; it is not read from meanwhile. */
  inboundPendingMax: 256,
  /** Presence and chat states held for one client whose screen is dark (XEP-0352). */
  heldStanzasMax: 500,
  /** A session waits so long for its client after its stream was cut (XEP-0198). */
  hibernateMs: 10 * 60_000,
  /** An acknowledgement that is asked for comes within this, or the stream is given up. */
  ackRequestMs: 60_000,
  /** One that we are asked for waits so long for what is being handled. */
  ackAnswerMs: 5_000,
  /** And so long when a client resumes; then it is told to begin anew. */
  resumeSettleMs: 10_000,
  /** Sessions that ended, whose count of handled stanzas a client may still ask for. */
  endedSessionsRemembered: 1_000,
  /** A resource that a client chooses: it stands in every stanza. */
  resourceBytesMax: 256,
  /** Of the name that a client's resource begins with (XEP-0386): Conversations, Dino. */
  resourceTagCharactersMax: 64,
  /** Commands (XEP-0050) whose form is not filled in yet: how many, and for how long; values of a field. */
  commandSessionsMax: 200,
  commandSessionMs: 10 * 60_000,
  commandValuesMax: 1_000,
  /** Invites that nobody has used yet, and how long one is good. */
  invitesMax: 100,
  inviteMs: 7 * 86_400_000,
  /** Of a password that a person chose at registration; those made here have 100 bits. */
  chosenPasswordCharactersMin: 10,
  /** Records deleted in one write when an account is removed. */
  erasedAtOnce: 500,
  /** Reports of spam (XEP-0377) that are kept, characters of the words of one, messages that it names. */
  reportsMax: 1_000,
  reportTextCharactersMax: 1_000,
  reportMessagesMax: 20,
  /** Elements of one stream that wait while a login is being looked at. */
  negotiationWaitingMax: 50,
  /** The house's own authority, which people install on each device: as seldom as a device is replaced. */
  homeAuthorityMs: 10 * 365 * 86_400_000,
  /** What it issues: Apple's systems take at most 825 days from an authority that a person installed. */
  homeCertificateMs: 365 * 86_400_000,
  /** Renewed so long before its end, and looked at so often. */
  homeRenewBeforeMs: 60 * 86_400_000,
  homeRenewEveryMs: 6 * 3_600_000,
  // ── Rooms (XEP-0045) ────────────────────────────────────────────────────────────────────────
  /** Rooms of the domain, and of one creator: a household has a handful. */
  roomsMax: 1_000,
  roomsPerCreatorMax: 50,
  /** Of one room at a time, what its owner may ask for, and what it starts with. */
  roomOccupantsMax: 500,
  roomOccupantsDefault: 100,
  /** Sessions of one person under one nick. */
  roomSessionsPerNickMax: 16,
  /** Bytes of a nick, of an address with an affiliation; people with one in a room. */
  roomNickBytesMax: 128,
  roomAffiliationJidBytesMax: 512,
  roomAffiliationsMax: 1_000,
  /** Items of one request of an admin. */
  roomAdminItemsMax: 200,
  /** Bytes of a subject, of a description; of a name or a password. */
  roomTextBytesMax: 4_096,
  roomNameBytesMax: 256,
  /** Messages that a room keeps at hand for who joins, and shows when its owner says nothing. */
  roomHistoryMax: 100,
  /** Characters of them all; in presence, which everybody is sent at each join. */
  roomHistoryCharactersMax: 512 * 1024,
  roomPresenceCharactersMax: 16 * 1024,
  roomHistoryDefault: 20,
  /** Messages, presence and requests of one person to a room: a second, and what may be saved up. */
  roomStanzaRate: 5,
  roomStanzaBurst: 100,
  /** Joins, nick changes of one person, likewise: each is told to everybody in the room. */
  roomJoinRate: 0.2,
  roomJoinBurst: 20,
} as const
