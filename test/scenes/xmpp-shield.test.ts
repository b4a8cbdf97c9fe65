/**
 * Two nodes, each with an XMPP domain and no door for other servers: people on ordinary clients are in
 * each other's roster, talk and have receipts and archives, and all of it goes sealed over openIM, also
 * when either node is killed under load. A third domain, on Prosody, is still reached over s2s.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import * as assert from 'uvu/assert'
import { CliNode, eventually } from '../helpers/cli-node.ts'
import { suite } from '../helpers/harness.ts'
import { startProsody } from '../helpers/prosody-server.ts'
import { LoggedIn, xml } from '../helpers/xmpp-client.ts'
import type { LtxElement } from '../helpers/xmpp-client.ts'
import { XmppGround } from '../helpers/xmpp-server.ts'

const test = suite('scenes/xmpp-shield', { timeoutMs: 240_000 })
const shieldNs = 'urn:openim:shield:0'

let dir = ''
let ground: XmppGround
const nodes: CliNode[] = []
const sessions: LoggedIn[] = []
test.before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'openim-shield-'))
  ground = await XmppGround.create()
  await writeFile(join(dir, 'ca.pem'), ground.ca.pem)
  setDefaultCACertificates([...getCACertificates('bundled').slice(0, 1), ground.ca.pem])
})
test.after.each(async () => {
  await Promise.all(sessions.splice(0).map((session) => session.close().catch(() => {})))
  await Promise.all(nodes.splice(0).map((node) => node.remove()))
})
test.after(async () => {
  await ground.remove()
  await rm(dir, { recursive: true, force: true })
})

/** A node that serves a domain for clients and the web, and knows no one. */
class Home {
  readonly node: CliNode
  readonly domain: string
  #password = ''

  private constructor(node: CliNode, domain: string) {
    this.node = node
    this.domain = domain
  }

  static async init(name: string, domain: string): Promise<Home> {
    const node = await CliNode.init(name)
    nodes.push(node)
    const { cert, key } = ground.ca.issue({ dns: [domain, `*.${domain}`, 'localhost'] }).writeTo(dir, domain)
    const config = [
      `name = ${JSON.stringify(name)}`, '[xmpp]', `domain = ${JSON.stringify(domain)}`,
      'listen = "127.0.0.1:0"', 'listen_web = "127.0.0.1:0"',
      `cert = ${JSON.stringify(cert)}`, `key = ${JSON.stringify(key)}`,
      '[xmpp.s2s]', `dns = [${JSON.stringify(ground.dns.server)}]`,
      `ca = ${JSON.stringify(join(dir, 'ca.pem'))}`,
    ]
    await writeFile(join(node.dataDir, 'config.toml'), `${config.join('\n')}\n`)
    return new Home(node, domain)
  }

  get jid(): string {
    return `${this.node.name}@${this.domain}`
  }

  async start(meet: readonly string[] = []): Promise<void> {
    const { listen } = await this.node.start(meet)
    const port = portOf(listen['xmpp-web']!)
    ground.dns.setTxt(`_openim.${this.domain}`, `v=openim1; host=127.0.0.1; port=${port}`)
  }

  async login(resource = 'phone'): Promise<LoggedIn> {
    if (this.#password === '') {
      this.#password = String((await this.node.run(['xmpp', 'passwd', resource])).json['password'])
    }
    const port = portOf(this.node.ready.listen.xmpp!)
    const session = await LoggedIn.open({ jid: this.jid, password: this.#password, port, resource })
    sessions.push(session)
    // Who asked for the roster is told of subscriptions.
    await session.client.iqCaller.request(
      xml('iq', { type: 'get' }, xml('query', { xmlns: 'jabber:iq:roster' })),
    )
    return session
  }

  /** Each way to another domain, as `openim xmpp` says it. */
  async way(domain: string): Promise<string | undefined> {
    const { json } = await this.node.run(['xmpp'])
    const shield = json['shield'] as { domain: string, by: string }[]
    return shield.find((one) => one.domain === domain)?.by
  }
}

function portOf(place: string): number {
  return Number(place.split(':').at(-1))
}

async function pair(): Promise<[Home, Home]> {
  const alice = await Home.init('alice', 'a.test')
  const bob = await Home.init('bob', 'b.test')
  await bob.start()
  await alice.start(bob.node.ready.p2p)
  return [alice, bob]
}

/** Bodies in an archive, the oldest first, page by page. */
async function archived(session: LoggedIn): Promise<{ body: string, isSealed: boolean }[]> {
  const found: { body: string, isSealed: boolean }[] = []
  for (let after = ''; ;) {
    const from = session.stanzas.length
    const set = xml('set', { xmlns: 'http://jabber.org/protocol/rsm' },
      xml('max', {}, '100'), ...after === '' ? [] : [xml('after', {}, after)])
    const answer = await session.client.iqCaller.request(
      xml('iq', { type: 'set' }, xml('query', { xmlns: 'urn:xmpp:mam:2' }, set)),
    )
    for (const stanza of session.stanzas.slice(from)) {
      const message = stanza.getChild('result', 'urn:xmpp:mam:2')?.getChild('forwarded', 'urn:xmpp:forward:0')
        ?.getChild('message')
      const body = message?.getChildText('body') ?? null
      if (body !== null) found.push({ body, isSealed: message!.getChild('sealed', shieldNs) !== undefined })
    }
    const fin = answer.getChild('fin', 'urn:xmpp:mam:2')!
    if (fin.attrs['complete'] === 'true') return found
    after = fin.getChild('set', 'http://jabber.org/protocol/rsm')!.getChildText('last')!
  }
}

const isPresence = (type: string | undefined, from: string) => (stanza: LtxElement): boolean =>
  stanza.name === 'presence' && stanza.attrs['type'] === type && stanza.attrs['from']!.startsWith(from)

test('people of two domains see each other and talk, sealed, with no door for servers open', async () => {
  const [alice, bob] = await pair()
  const [phone, desk] = [await alice.login(), await bob.login()]
  await phone.client.send(xml('presence', { to: bob.jid, type: 'subscribe' }))
  await desk.find(isPresence('subscribe', alice.jid))
  await desk.client.send(xml('presence', { to: alice.jid, type: 'subscribed' }))
  await desk.client.send(xml('presence', { to: alice.jid, type: 'subscribe' }))
  await phone.find(isPresence('subscribed', bob.jid))
  await phone.client.send(xml('presence', { to: bob.jid, type: 'subscribed' }))
  await phone.find(isPresence(undefined, `${bob.jid}/phone`))
  await desk.find(isPresence(undefined, `${alice.jid}/phone`))

  await phone.client.send(xml('message', { to: bob.jid, id: 'one', type: 'chat' }, xml('body', {}, 'hello'),
    xml('request', { xmlns: 'urn:xmpp:receipts' }), xml('sealed', { xmlns: shieldNs, forged: 'yes' })))
  const hello = await desk.find((stanza) => stanza.getChildText('body') === 'hello')
  assert.equal(hello.getChildren('sealed', shieldNs).map(({ attrs }) => attrs['forged']), [undefined])
  await desk.client.send(xml('message', { to: hello.attrs['from'], type: 'chat' },
    xml('received', { xmlns: 'urn:xmpp:receipts', id: 'one' })))
  await phone.find((stanza) => stanza.getChild('received', 'urn:xmpp:receipts')?.attrs['id'] === 'one')
  assert.equal(await archived(desk), [{ body: 'hello', isSealed: true }])
  assert.equal([await alice.way('b.test'), await bob.way('a.test')], ['sealed', 'sealed'])
  const { stdout } = await alice.node.run(['xmpp'])
  assert.equal((JSON.parse(stdout) as { servers: unknown[] }).servers, [], 'no stream to another server')
  const asked = ground.dns.queries.filter((one) => one.includes('_xmpp'))
  assert.equal(asked, [], 'nobody even asked for a server')
})

test('whichever node is killed under load, nothing is lost and nothing comes twice', async () => {
  const [alice, bob] = await pair()
  const taken: string[] = []
  // What was acknowledged is the server's to deliver; the rest is still the client's.
  const loginAlice = async (): Promise<LoggedIn> => {
    const session = await alice.login()
    session.client.streamManagement.on('ack', (stanza) => {
      const body = stanza.getChildText('body')
      if (body !== null) taken.push(body)
    })
    return session
  }
  let [phone, desk] = [await loginAlice(), await bob.login()]
  await phone.say(bob.jid, 'first')
  await desk.find((stanza) => stanza.getChildText('body') === 'first')
  for (const victim of ['bob', 'alice', 'bob'] as const) {
    for (let i = 0; i < 100; i++) await phone.say(bob.jid, `${victim} ${sessions.length}.${i}`)
    const before = taken.length
    await eventually(async () => taken.length >= before + 30 ? true : undefined, {
      withinMs: 30_000, everyMs: 5, what: 'a third is acknowledged',
    })
    const home = victim === 'bob' ? bob : alice
    // Some are at the other node by now, and some are not.
    await home.node.kill()
    await home.start((victim === 'bob' ? alice : bob).node.ready.p2p)
    if (victim === 'bob') desk = await bob.login()
    else phone = await loginAlice()
  }
  await phone.say(bob.jid, 'last')
  await eventually(async () => taken.includes('last') ? true : undefined, {
    withinMs: 30_000, what: 'the last is acknowledged',
  })
  await eventually(async () => {
    const there = new Set((await archived(desk)).map(({ body }) => body))
    return taken.every((body) => there.has(body)) ? true : undefined
  }, { withinMs: 90_000, everyMs: 1_000, what: 'everything arrives' })
  assert.ok(taken.length >= 92, `${taken.length} were acknowledged`)
  const received = await archived(desk)
  const bodies = received.map(({ body }) => body)
  assert.is(new Set(bodies).size, bodies.length, 'nothing twice')
  assert.ok(received.every(({ isSealed }) => isSealed))
})

test('a domain on Prosody is reached over s2s beside it', async () => {
  const prosody = await startProsody(ground, { domain: 'c.test', accounts: { carol: 'secret' } })
  const [alice] = await pair()
  const phone = await alice.login()
  const carol = await LoggedIn.open({ jid: 'carol@c.test', password: 'secret', port: prosody.ports.c2s })
  sessions.push(carol)
  await phone.say('carol@c.test', 'hello')
  const hello = await carol.find((stanza) => stanza.getChildText('body') === 'hello')
  assert.is(hello.getChild('sealed', shieldNs), undefined)
  assert.is(await alice.way('c.test'), 's2s')
})

test.run()
