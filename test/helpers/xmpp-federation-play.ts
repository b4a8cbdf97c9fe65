/**
 * Load between our gateway and a foreign server while that one and we are killed in turn. Played short
 * by test/interop/xmpp-federation.test.ts and long by `npm run campaign -- s2s`.
 *
 * ```text
 *   out   we send to somebody there; their server is killed, then we are        arrived: live or archived
 *   in    somebody there sends to us; we are killed                             arrived, or told so
 * ```
 *
 * What their server took from its own client and loses by its own kill is not counted: nobody but it
 * could know. A message counts as taken by us when `send` has settled.
 */
import type { KvStore } from '../../protocol/ports.ts'
import { startEjabberd } from './ejabberd-server.ts'
import { startProsody } from './prosody-server.ts'
import { LoggedIn, xml } from './xmpp-client.ts'
import type { LtxElement } from './xmpp-client.ts'
import { GatewayNode } from './xmpp-gateway.ts'
import { XmppGround } from './xmpp-server.ts'
import type { XmppServer } from './xmpp-server.ts'

export interface FederationPlay {
  readonly ground: XmppGround
  readonly kind: 'prosody' | 'ejabberd'
  /** Each way, for each kill. */
  readonly messages: number
  /** Of their server, and as many of ours. */
  readonly kills: number
}

export interface FederationReport {
  readonly sent: number
  readonly lost: { readonly out: number, readonly in: number }
  readonly doubled: { readonly out: number, readonly in: number }
  /** Messages that went back to their sender with an error. */
  readonly returned: number
  readonly text: string
}

const password = 'correct horse'
const mamNs = 'urn:xmpp:mam:2'
const rsmNs = 'http://jabber.org/protocol/rsm'
/** Of a burst before the kill, the share that is sent by then. */
const beforeKill = 0.5

class Play {
  readonly options: FederationPlay
  readonly server: XmppServer
  ours: GatewayNode
  alice: LoggedIn
  /** Her sessions and our lives, those that ended, too: what was on its way may come after the end. */
  readonly sessions: LoggedIn[] = []
  readonly lives: GatewayNode[] = []
  readonly told = new Set<string>()
  /** What outlives our lives. */
  readonly #kv: KvStore
  #switch: Cuttable

  constructor(options: FederationPlay, server: XmppServer, start: { ours: GatewayNode, alice: LoggedIn }) {
    this.options = options
    this.server = server
    this.ours = start.ours
    this.alice = start.alice
    this.lives.push(this.ours)
    this.sessions.push(this.alice)
    this.#kv = start.ours.kv
    this.#switch = cuttable(this.#kv)
  }

  static async begin(options: FederationPlay): Promise<Play> {
    const { ground, kind } = options
    const start = kind === 'prosody' ? startProsody : startEjabberd
    // ejabberd's own archive takes 9 ms a message, in memory until then: its kill would lose what it took.
    const hasArchive = kind === 'prosody'
    const server = await start(ground, { domain: 'a.test', accounts: { alice: password }, hasArchive })
    const ours = await GatewayNode.start(ground, { domain: 'o.test' })
    const play = new Play(options, server, { ours, alice: await logIn(server) })
    await play.restartOurs()
    return play
  }

  async killTheirs(): Promise<void> {
    await this.server.kill()
    await this.server.start()
    this.alice = await logIn(this.server)
    this.sessions.push(this.alice)
  }

  /** False: we died before we had it, and nobody was told that we did. */
  async say(text: string): Promise<boolean> {
    const taken = this.ours.say('alice@a.test', text).then(() => true)
    return await Promise.race([taken, this.#switch.isCut])
  }

  /** As far as one process can: sockets die, and nothing more of what it writes reaches the store. */
  async restartOurs(): Promise<void> {
    this.#switch.cut()
    await this.ours.cut()
    this.#switch = cuttable(this.#kv)
    this.ours = await GatewayNode.start(this.options.ground, { domain: 'o.test', kv: this.#switch.kv })
    this.lives.push(this.ours)
  }

  get live(): string[] {
    return this.sessions.flatMap(({ texts }) => texts)
  }

  get arrived(): string[] {
    return this.lives.flatMap(({ texts }) => texts)
  }

  async end(): Promise<void> {
    await this.alice.close()
    await this.ours.stop()
  }

  /** Their server has, or gave back, all that we sent. */
  async drained(): Promise<void> {
    await until(() => this.ours.gateway.queued === 0)
  }

  noteBounces(): void {
    for (const { attrs } of this.alice.stanzas) {
      if (attrs['type'] === 'error') this.told.add(attrs['id']!)
    }
  }
}

export async function playFederation(options: FederationPlay): Promise<FederationReport> {
  const { messages, kills, kind } = options
  const play = await Play.begin(options)
  const outgoing: string[] = []
  const incoming: string[] = []
  const sendOut = async (from: number, to: number, name: string): Promise<void> => {
    for (let i = from; i < to; i++) {
      const text = `out ${name} ${i}`
      if (await play.say(text)) outgoing.push(text)
      // At the pace of whoever reads, as people write, so that little is on its way at any moment.
      await new Promise((resolve) => { setImmediate(resolve) })
    }
  }
  const middle = Math.floor(messages * beforeKill)
  for (let kill = 0; kill < kills; kill++) {
    for (const who of ['theirs', 'ours'] as const) {
      // Streams stand both ways, so that acknowledgements flow.
      await sendOut(0, 1, `${who} ${kill} first`)
      await play.drained()
      const before = play.alice.texts.length
      await sendOut(0, middle, `${who} ${kill}`)
      // In the midst of it: some arrived, the rest is on its way.
      await play.alice.until(() => play.alice.texts.length > before + middle / 4)
      const sending = sendOut(middle, messages, `${who} ${kill}`)
      await (who === 'theirs' ? play.killTheirs() : play.restartOurs())
      await sending
    }
    await play.drained()
    for (let i = 0; i < messages; i++) {
      const text = `in ${kill} ${i}`
      await play.alice.say('me@o.test', text)
      incoming.push(text)
      if (i === middle) await play.restartOurs()
    }
  }
  await play.drained()
  // What she sends last comes after all that her server still has for us.
  await settle(play, incoming)
  const archived = await archiveOf(play.alice)
  const { live, arrived } = play
  await play.end()
  const at = new Set([...live, ...archived])
  const here = new Set([...arrived, ...play.told])
  const report = {
    sent: outgoing.length + incoming.length,
    lost: {
      out: outgoing.filter((text) => !at.has(text)).length,
      in: incoming.filter((text) => !here.has(text)).length,
    },
    doubled: { out: repeats(live), in: repeats(arrived) },
    returned: play.told.size,
  }
  return { ...report, text: `${kind}: ${JSON.stringify(report)}` }
}

const settleMs = 15_000
const lookMs = 20

/** Until each message from there arrived or went back, or too long. */
async function settle(play: Play, incoming: readonly string[]): Promise<void> {
  await until(() => {
    play.noteBounces()
    const here = new Set([...play.arrived, ...play.told])
    return incoming.every((text) => here.has(text))
  })
}

/** For what says nothing when it comes about; the play itself says what is missing. */
async function until(isSo: () => boolean): Promise<void> {
  const endMs = performance.now() + settleMs
  while (!isSo() && performance.now() < endMs) {
    await new Promise((resolve) => { setTimeout(resolve, lookMs) })
  }
}

function repeats(texts: readonly string[]): number {
  return texts.length - new Set(texts).size
}

async function logIn(server: XmppServer): Promise<LoggedIn> {
  return await LoggedIn.open({ jid: 'alice@a.test', password, port: server.ports.c2s })
}

/** Bodies in her archive, page by page (XEP-0313). */
async function archiveOf(session: LoggedIn): Promise<string[]> {
  const found: string[] = []
  session.client.on('stanza', (stanza) => {
    const forwarded = stanza.getChild('result', mamNs)?.getChild('forwarded')
    const text = forwarded?.getChild('message')?.getChildText('body')
    if (text !== undefined && text !== null) found.push(text)
  })
  for (let after: string | undefined; ;) {
    const position = after === undefined ? [] : [xml('after', {}, after)]
    const set = xml('set', { xmlns: rsmNs }, xml('max', {}, '250'), ...position)
    const query = xml('query', { xmlns: mamNs }, set)
    const iq = xml('iq', { type: 'set' }, query)
    const answer: LtxElement = await session.client.iqCaller.request(iq, 20_000)
    const fin = answer.getChild('fin', mamNs)
    after = fin?.getChild('set', rsmNs)?.getChildText('last') ?? undefined
    if (fin?.attrs['complete'] === 'true' || after === undefined) return found
  }
}

interface Cuttable {
  readonly kv: KvStore
  /** Settles with false when it is. */
  readonly isCut: Promise<false>
  cut(): void
}

/** A store whose owner dies: from then on its calls reach nothing and settle never. */
function cuttable(kv: KvStore): Cuttable {
  let isCut = false
  const { promise, resolve } = Promise.withResolvers<false>()
  const never = new Promise<never>(() => {})
  const alive = async <T>(call: () => Promise<T>): Promise<T> => {
    if (isCut) return await never
    const result = await call()
    return isCut ? await never : result
  }
  return {
    cut() {
      isCut = true
      resolve(false)
    },
    isCut: promise,
    kv: {
      get: (key) => alive(() => kv.get(key)),
      list: (range) => alive(() => kv.list(range)),
      write: (operations) => alive(() => kv.write(operations)),
      expire: (nowMs, budget) => alive(() => kv.expire(nowMs, budget)),
    },
  }
}
