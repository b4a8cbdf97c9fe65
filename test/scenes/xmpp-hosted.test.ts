/**
 * Two people who have nothing but an XMPP client each, on an address that somebody else's node gave
 * them by invite: they become contacts on openIM from inside of their clients, and talk end-to-end
 * encrypted from node to node, also after both nodes were killed.
 */
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, getCACertificates, setDefaultCACertificates } from 'node:tls'
import * as assert from 'uvu/assert'
import { CliNode, eventually } from '../helpers/cli-node.ts'
import { suite } from '../helpers/harness.ts'
import { RawClient, streamHeader } from '../helpers/raw-xmpp-client.ts'
import { TestCA } from '../helpers/xmpp-ca.ts'
import { LoggedIn, xml } from '../helpers/xmpp-client.ts'
import type { LtxElement } from '../helpers/xmpp-client.ts'

const test = suite('scenes/xmpp-hosted', { timeoutMs: 180_000 })
const commandsNs = 'http://jabber.org/protocol/commands'
const password = 'correct horse battery'

const ca = TestCA.create('openIM hosted scene')
let dir = ''
const nodes: CliNode[] = []
const sessions: LoggedIn[] = []

test.before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'openim-hosted-'))
  setDefaultCACertificates([...getCACertificates('bundled').slice(0, 1), ca.pem])
})
test.after(async () => {
  await Promise.all(sessions.map((session) => session.close().catch(() => {})))
  await Promise.all(nodes.map((node) => node.remove()))
  await rm(dir, { recursive: true, force: true })
})

/** A node of somebody with a domain; both domains have one name here, and never meet. */
async function withDomain(name: string): Promise<CliNode> {
  const node = await CliNode.init(name)
  nodes.push(node)
  ca.issue({ dns: ['a.test', 'localhost'] }).writeTo(dir, 'a.test')
  const config = [
    `name = "${name}"`, '[xmpp]', 'domain = "a.test"', 'shield = "off"',
    'listen = "127.0.0.1:0"', 'listen_tls = "127.0.0.1:0"',
    `cert = ${JSON.stringify(join(dir, 'a.test.crt'))}`, `key = ${JSON.stringify(join(dir, 'a.test.key'))}`,
  ]
  await writeFile(join(node.dataDir, 'config.toml'), `${config.join('\n')}\n`)
  return node
}

function portOf(node: CliNode, door: 'xmpp' | 'xmpps'): number {
  return Number(node.ready.listen[door]!.split(':').at(-1))
}

/** As somebody does who got a link. */
async function register(node: CliNode, name: string): Promise<void> {
  const { json } = await node.run(['xmpp', 'invite', name])
  const token = /preauth=([\w-]+)/.exec(String(json['uri']))![1]!
  const port = portOf(node, 'xmpps')
  const socket = connect({ host: '127.0.0.1', port, servername: 'a.test', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const client = new RawClient(socket)
  const says = async (payload: string): Promise<void> => {
    client.say(`<iq type='set' id='r' to='a.test'>${payload}</iq>`)
    assert.match(await client.hears(/<\/iq>|<iq[^>]*\/>/), /type=["']result/)
  }
  client.say(streamHeader)
  await client.hears('</stream:features>')
  await says(`<preauth xmlns='urn:xmpp:pars:0' token='${token}'/>`)
  await says(`<query xmlns='jabber:iq:register'><username>${name}</username>`
    + `<password>${password}</password></query>`)
  client.drop()
}

async function login(node: CliNode, name: string): Promise<LoggedIn> {
  const session = await LoggedIn.open({ jid: `${name}@a.test`, password, port: portOf(node, 'xmpp') })
  sessions.push(session)
  return session
}

async function command(
  who: LoggedIn, node: string, attrs: object, ...inside: readonly LtxElement[]
): Promise<LtxElement> {
  const answer = await who.client.iqCaller.request(xml('iq', { type: 'set', to: 'a.test' },
    xml('command', {
      xmlns: commandsNs, node: `https://openim.invalid/commands#${node}`, ...attrs,
    }, ...inside)))
  return answer.getChild('command')!
}

function fieldOf(form: LtxElement, name: string): string {
  const fields = form.getChild('x')!.getChildren('field')
  return fields.find(({ attrs }) => attrs['var'] === name)!.getChildText('value')!
}

/** The JID of the only contact, once it is in the roster. */
async function contactOf(who: LoggedIn): Promise<string> {
  return await eventually(async () => {
    const roster = await who.client.iqCaller.request(
      xml('iq', { type: 'get' }, xml('query', { xmlns: 'jabber:iq:roster' })))
    return roster.getChild('query')!.getChildren('item')[0]?.attrs['jid']
  }, { withinMs: 60_000, what: 'the contact is in the roster' })
}

async function says(who: LoggedIn, to: string, text: string): Promise<void> {
  await who.client.send(xml('message', { to, id: text, type: 'chat' }, xml('body', {}, text),
    xml('request', { xmlns: 'urn:xmpp:receipts' })))
}

async function receipt(who: LoggedIn, id: string): Promise<void> {
  await who.find((stanza) => stanza.getChild('received', 'urn:xmpp:receipts')?.attrs['id'] === id)
}

test('people with an address by invite meet on openIM and talk, kills of both nodes included', async () => {
  const [one, two] = await Promise.all([withDomain('one'), withDomain('two')])
  const { p2p: meet } = await two.start()
  await one.start(meet)
  await Promise.all([register(one, 'anna'), register(two, 'ben')])
  const [anna, ben] = [await login(one, 'anna'), await login(two, 'ben')]

  const asked = (): Promise<LtxElement | undefined> =>
    command(anna, 'invite', { action: 'execute' }).catch(() => undefined)
  const made = await eventually(asked, {
    withinMs: 30_000, what: 'the openIM account of the new address is there',
  })
  const uri = fieldOf(made, 'uri')
  const form = await command(ben, 'add', { action: 'execute' })
  const field = (name: string, value: string): LtxElement =>
    xml('field', { var: name }, xml('value', {}, value))
  await command(ben, 'add', { action: 'complete', sessionid: form.attrs['sessionid'] },
    xml('x', { xmlns: 'jabber:x:data', type: 'submit' }, field('uri', uri), field('name', 'Annie')))
  const [toBen, toAnna] = await Promise.all([contactOf(anna), contactOf(ben)])
  assert.match(toBen, /^oim1[a-z0-9]+@oim\.a\.test$/)

  await says(anna, toBen, 'hello ben')
  await ben.find((stanza) => stanza.getChildText('body') === 'hello ben' && stanza.attrs['from'] === toAnna)
  await receipt(anna, 'hello ben')
  await says(ben, toAnna, 'hello anna')
  await anna.find((stanza) => stanza.getChildText('body') === 'hello anna')

  // A name in the roster is the petname; the service answers who has no commands.
  const renamed = xml('item', { jid: toAnna, name: 'Anna of one' })
  await ben.client.iqCaller.request(
    xml('iq', { type: 'set' }, xml('query', { xmlns: 'jabber:iq:roster' }, renamed)))
  await ben.client.send(xml('message', { to: 'oim.a.test', type: 'chat' }, xml('body', {}, 'invite')))
  await ben.find((stanza) => /^openim:/.test(stanza.getChildText('body') ?? ''))
  const { people } = (await one.run(['xmpp'])).json as { people: { address: string, openim: string }[] }
  const known = people.map(({ address, openim }) => [address, `${openim}@oim.a.test` === toAnna])
  assert.equal(known.sort(), [['anna@a.test', true], ['one@a.test', false]])
  assert.equal((await one.run(['inbox', '--all'])).stdout, '', 'nothing of it is the owner\'s')

  await two.kill()
  const acked = new Promise<void>((resolve) => {
    anna.client.streamManagement.on('ack', (stanza) => {
      if (stanza.attrs['id'] === 'while you were dead') resolve()
    })
  })
  await says(anna, toBen, 'while you were dead')
  // What its node has not acknowledged a client sends again itself.
  await acked
  await one.kill()
  await two.start()
  await one.start(two.ready.p2p)
  const again = await login(two, 'ben')
  await again.find((stanza) => stanza.getChildText('body') === 'while you were dead')
  const texts = again.texts.filter((text) => text === 'while you were dead')
  assert.is(texts.length, 1)
  const back = await login(one, 'anna')
  await says(again, toAnna, 'there you are')
  await back.find((stanza) => stanza.getChildText('body') === 'there you are')
  await receipt(again, 'there you are')
})

test.run()
