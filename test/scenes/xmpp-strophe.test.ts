/**
 * strophe.js in Debian's Chromium, logged in at Alice's node over WebSocket (RFC 7395), beside another
 * client stack of hers: roster, personal nodes, carbons, archive, a conversation with Bob, who has a
 * node of his own and knows nothing of XMPP; and all of it again after a cut and after the node was
 * killed.
 */
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import * as assert from 'uvu/assert'
import type { Browser, Page } from 'playwright-core'
import { chromiumPath, launchChromium, openPage } from '../helpers/chromium.ts'
import { CliNode, eventually } from '../helpers/cli-node.ts'
import { CuttingProxy } from '../helpers/cutting-proxy.ts'
import { freePort } from '../helpers/free-port.ts'
import { suite } from '../helpers/harness.ts'
import { TestCA } from '../helpers/xmpp-ca.ts'
import { LoggedIn, xml } from '../helpers/xmpp-client.ts'

const test = suite('scenes/xmpp-strophe', { timeoutMs: 180_000 })
const inChromium = test.skipUnless(chromiumPath !== undefined, 'chromium is not installed')

/** What the page has: the library, and this. */
interface StropheWindow {
  readonly stanzas: Element[]
  /** `connected` or `resumed` for each time it was online. */
  readonly logins: string[]
  login(service: string, password: string): void
  send(stanza: string): void
  ask(iq: string): Promise<string>
}

const page = `<!doctype html><script src="/strophe.js"></script><script>
  var stanzas = [], logins = []
  const parse = (text) => Strophe.Stanza.toElement(text, true)
  let conn
  function login(service, password) {
    conn ??= new Strophe.Connection(service, { enableStreamManagement: true })
    conn.connect('alice@a.test/tab', password, (status) => {
      if (status === Strophe.Status.CONNECTED) {
        logins.push(conn.hasResumed() ? 'resumed' : 'connected')
        // It forgets its handlers with the connection.
        conn.addHandler((stanza) => { stanzas.push(stanza); return true })
        if (!conn.hasResumed()) conn.send(parse('<presence xmlns="jabber:client"/>'))
      }
      if (status === Strophe.Status.DISCONNECTED) setTimeout(() => login(service, password), 200)
    })
  }
  var send = (text) => conn.send(parse(text))
  var ask = (text) => new Promise((done, failed) => conn.sendIQ(parse(text),
    (answer) => done(answer.outerHTML),
    (error) => failed(new Error(error?.outerHTML ?? 'no answer')), 10_000))
</script>`

const ca = TestCA.create('openIM strophe scene')
let dir = ''
let browser: Browser
let server: Server
let proxy: CuttingProxy | undefined
const nodes: CliNode[] = []
const sessions: LoggedIn[] = []

test.before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'openim-strophe-'))
  setDefaultCACertificates([...getCACertificates('bundled').slice(0, 1), ca.pem])
  if (chromiumPath === undefined) return
  const rules = '--host-resolver-rules=MAP a.test 127.0.0.1'
  browser = await launchChromium([rules, '--ignore-certificate-errors'])
  const library = resolve('node_modules/strophe.js/dist/strophe.umd.cjs')
  server = createServer((request, response) => {
    const isLibrary = request.url === '/strophe.js'
    response.setHeader('content-type', isLibrary ? 'text/javascript' : 'text/html')
    void (isLibrary ? readFile(library) : Promise.resolve(page)).then((body) => response.end(body))
  })
  await new Promise<void>((done) => { server.listen(0, '127.0.0.1', done) })
})

test.after(async () => {
  await Promise.all(sessions.map((session) => session.close().catch(() => {})))
  await browser?.close()
  server?.closeAllConnections()
  server?.close()
  await proxy?.stop()
  await Promise.all(nodes.map((node) => node.remove()))
  await rm(dir, { recursive: true, force: true })
})

async function withDomain(node: CliNode): Promise<number> {
  ca.issue({ dns: ['a.test', 'localhost'] }).writeTo(dir, 'a.test')
  const web = await freePort()
  const config = [
    'name = "alice"', '[xmpp]', 'domain = "a.test"', 'listen = "127.0.0.1:0"',
    `listen_web = "127.0.0.1:${web}"`,
    `cert = ${JSON.stringify(join(dir, 'a.test.crt'))}`, `key = ${JSON.stringify(join(dir, 'a.test.key'))}`,
  ]
  await writeFile(join(node.dataDir, 'config.toml'), `${config.join('\n')}\n`)
  return web
}

async function befriend(alice: CliNode, bob: CliNode): Promise<string> {
  const { json: invite } = await bob.run(['invite'])
  await alice.run(['add', String(invite['uri'])])
  return await eventually(async () => {
    const { json } = await alice.run(['contacts'])
    const [contact] = (json as { contacts: { address: string, state: string }[] }).contacts
    return contact?.state === 'active' ? `${contact.address}@oim.a.test` : undefined
  }, { withinMs: 60_000, what: 'the invite is answered' })
}

async function shown(node: CliNode, text: string): Promise<void> {
  await eventually(async () => {
    const { stdout } = await node.run(['inbox', '--all'])
    return stdout.includes(JSON.stringify(text)) ? true : undefined
  }, { withinMs: 60_000, what: `${node.name} is shown "${text}"` })
}

/**
 * How many messages with this body came, as themselves or in a carbon. One that was not acknowledged
 * when the node died comes again under the same stanza id, by which clients know it (XEP-0359).
 */
function came(tab: Page, text: string): Promise<number> {
  return tab.evaluate((wanted) => new Set((globalThis as unknown as StropheWindow).stanzas
    .filter((stanza) => stanza.querySelector('body')?.textContent === wanted)
    .map((stanza) => stanza.querySelector('stanza-id')?.getAttribute('id') ?? stanza.id)).size, text)
}

async function comes(tab: Page, text: string): Promise<void> {
  await eventually(async () => await came(tab, text) > 0 ? true : undefined, {
    withinMs: 30_000, what: `"${text}" comes to the tab`,
  })
}

function ask(tab: Page, iq: string): Promise<string> {
  return tab.evaluate((text) => (globalThis as unknown as StropheWindow).ask(text), iq)
}

function say(tab: Page, to: string, body: string): Promise<void> {
  const attrs = `to="${to}" id="${body}" type="chat"`
  const stanza = `<message xmlns="jabber:client" ${attrs}><body>${body}</body></message>`
  return tab.evaluate((text) => (globalThis as unknown as StropheWindow).send(text), stanza)
}

async function logins(tab: Page, count: number): Promise<string[]> {
  return await eventually(async () => {
    const all = await tab.evaluate(() => (globalThis as unknown as StropheWindow).logins)
    return all.length >= count ? all : undefined
  }, { withinMs: 30_000, what: `the tab was online ${count} times` })
}

inChromium('a page with strophe.js talks with somebody on openIM, through a cut and a kill', async () => {
  const [alice, bob] = await Promise.all([CliNode.init('alice'), CliNode.init('bob')])
  nodes.push(alice, bob)
  const web = await withDomain(alice)
  const { p2p: meet } = await bob.start()
  await alice.start(meet)
  const jid = await befriend(alice, bob)
  const passwords = await Promise.all(['tab', 'phone'].map(async (name) =>
    String((await alice.run(['xmpp', 'passwd', name])).json['password'])))
  proxy = new CuttingProxy({ host: '127.0.0.1', port: web }, () => Infinity)
  const port = await proxy.start()

  const place = `http://localhost:${(server.address() as AddressInfo).port}/`
  const { page: tab } = await openPage(browser, place)
  const login = { service: `wss://a.test:${port}/xmpp-websocket`, password: passwords[0]! }
  await tab.evaluate(({ service, password }) => {
    (globalThis as unknown as StropheWindow).login(service, password)
  }, login)
  assert.equal(await logins(tab, 1), ['connected'])
  const query = '<query xmlns="jabber:iq:roster"/>'
  const roster = await ask(tab, `<iq xmlns="jabber:client" type="get" id="r">${query}</iq>`)
  assert.ok(roster.includes(jid), roster)
  await ask(tab, '<iq xmlns="jabber:client" type="set" id="c"><enable xmlns="urn:xmpp:carbons:2"/></iq>')

  // What OMEMO publishes: a bundle in a personal node, fetched by another stack of the account.
  const node = 'eu.siacs.conversations.axolotl.bundles:31415'
  const key = '<identityKey>AAECAw==</identityKey>'
  const bundle = `<bundle xmlns="eu.siacs.conversations.axolotl">${key}</bundle>`
  const publish = `<publish node="${node}"><item id="current">${bundle}</item></publish>`
  const pubsub = `<pubsub xmlns="http://jabber.org/protocol/pubsub">${publish}</pubsub>`
  await ask(tab, `<iq xmlns="jabber:client" type="set" id="p">${pubsub}</iq>`)
  const phone = await LoggedIn.open({
    jid: 'alice@a.test', password: passwords[1]!, resource: 'phone',
    port: Number(alice.ready.listen.xmpp!.split(':').at(-1)),
  })
  sessions.push(phone)
  const fetched = await phone.client.iqCaller.request(xml('iq', { type: 'get' },
    xml('pubsub', { xmlns: 'http://jabber.org/protocol/pubsub' }, xml('items', { node }))))
  const item = fetched.getChild('pubsub')!.getChild('items')!.getChild('item')!
  assert.is(item.getChild('bundle')!.getChildText('identityKey'), 'AAECAw==')

  await say(tab, jid, 'from a tab')
  await shown(bob, 'from a tab')
  await bob.run(['send', 'alice', 'from a shell'])
  await comes(tab, 'from a shell')
  await phone.say(jid, 'from a phone', 'two')
  await comes(tab, 'from a phone')

  proxy.cut()
  await bob.run(['send', 'alice', 'during the cut'])
  assert.equal(await logins(tab, 2), ['connected', 'resumed'])
  await comes(tab, 'during the cut')

  await alice.kill()
  await bob.run(['send', 'alice', 'while it was dead'])
  await alice.start(bob.ready.p2p)
  assert.equal((await logins(tab, 3)).at(-1), 'connected')
  await comes(tab, 'while it was dead')
  await say(tab, jid, 'I am back')
  await shown(bob, 'I am back')
  const texts = ['from a shell', 'from a phone', 'during the cut', 'while it was dead']
  assert.equal(await Promise.all(texts.map((text) => came(tab, text))), [1, 1, 1, 1])

  await ask(tab, '<iq xmlns="jabber:client" type="set" id="m"><query xmlns="urn:xmpp:mam:2"/></iq>')
  for (const text of ['from a tab', ...texts, 'I am back']) {
    const kept = await tab.evaluate((wanted) => (globalThis as unknown as StropheWindow).stanzas
      .filter((stanza) => stanza.querySelector('result body')?.textContent === wanted).length, text)
    assert.is(kept, 1, `"${text}" is in the archive once`)
  }
})

test.run()
