/**
 * An ordinary XMPP client, logged in at Alice's node, talks with Bob, who knows nothing of XMPP and has
 * a node of his own: real processes, real sockets. Every message arrives once, on every device, also
 * after both nodes were killed.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import * as assert from 'uvu/assert'
import { CliNode, eventually } from '../helpers/cli-node.ts'
import { suite } from '../helpers/harness.ts'
import { TestCA } from '../helpers/xmpp-ca.ts'
import { LoggedIn, xml } from '../helpers/xmpp-client.ts'
import type { LtxElement } from '../helpers/xmpp-client.ts'

const test = suite('scenes/xmpp-contact', { timeoutMs: 180_000 })

const ca = TestCA.create('openIM scene')
let dir = ''
const nodes: CliNode[] = []
const sessions: LoggedIn[] = []
test.before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'openim-xmpp-'))
  setDefaultCACertificates([...getCACertificates('bundled').slice(0, 1), ca.pem])
})
test.after.each(async () => {
  await Promise.all(sessions.splice(0).map((session) => session.close().catch(() => {})))
  await Promise.all(nodes.splice(0).map((node) => node.remove()))
})
test.after(() => rm(dir, { recursive: true, force: true }))

async function withDomain(node: CliNode): Promise<void> {
  ca.issue({ dns: ['a.test', 'localhost'] }).writeTo(dir, 'a.test')
  const config = [
    'name = "alice"', '[xmpp]', 'domain = "a.test"', 'listen = "127.0.0.1:0"',
    `cert = ${JSON.stringify(join(dir, 'a.test.crt'))}`, `key = ${JSON.stringify(join(dir, 'a.test.key'))}`,
  ]
  await writeFile(join(node.dataDir, 'config.toml'), `${config.join('\n')}\n`)
}

async function login(node: CliNode, password: string): Promise<LoggedIn> {
  const port = Number(node.ready.listen.xmpp!.split(':').at(-1))
  const session = await LoggedIn.open({ jid: 'alice@a.test', password, port, resource: 'phone' })
  sessions.push(session)
  return session
}

async function textsOf(node: CliNode): Promise<string[]> {
  const { stdout } = await node.run(['inbox', '--all'])
  return stdout.split('\n').filter((line) => line !== '').map(
    (line) => (JSON.parse(line) as { text: string }).text,
  )
}

async function shown(node: CliNode, text: string): Promise<void> {
  await eventually(async () => (await textsOf(node)).includes(text) ? true : undefined, {
    withinMs: 60_000, what: `${node.name} is shown "${text}"`,
  })
}

test('an XMPP client and somebody on openIM talk, also after both nodes were killed', async () => {
  const [alice, bob] = await Promise.all([CliNode.init('alice'), CliNode.init('bob')])
  nodes.push(alice, bob)
  await withDomain(alice)
  const { p2p: meet } = await bob.start()
  await alice.start(meet)
  const { json: invite } = await bob.run(['invite'])
  await alice.run(['add', String(invite['uri'])])
  await eventually(async () => {
    const { contacts } = (await alice.run(['contacts'])).json as { contacts: { state: string }[] }
    return contacts[0]?.state === 'active' ? true : undefined
  }, { withinMs: 60_000, what: 'the invite is answered' })
  const { json: made } = await alice.run(['xmpp', 'passwd', 'phone'])
  const password = String(made['password'])

  const phone = await login(alice, password)
  const { json: contacts } = await alice.run(['contacts'])
  const jid = `${(contacts as { contacts: { address: string }[] }).contacts[0]!.address}@oim.a.test`
  const carbons = xml('enable', { xmlns: 'urn:xmpp:carbons:2' })
  await phone.client.iqCaller.request(xml('iq', { type: 'set' }, carbons))
  const roster = await phone.client.iqCaller.request(
    xml('iq', { type: 'get' }, xml('query', { xmlns: 'jabber:iq:roster' })),
  )
  const [item] = roster.getChild('query')!.getChildren('item')
  assert.equal([item!.attrs['jid'], item!.attrs['name'], item!.attrs['subscription']], [jid, 'bob', 'both'])
  await phone.client.send(xml('message', { to: jid, id: 'one', type: 'chat' },
    xml('body', {}, 'hello from a phone'),
    xml('request', { xmlns: 'urn:xmpp:receipts' }), xml('markable', { xmlns: 'urn:xmpp:chat-markers:0' })))
  const receipt = await phone.find((stanza) => stanza.getChild('received', 'urn:xmpp:receipts') !== undefined)
  assert.equal([receipt.attrs['from'], receipt.getChild('received')!.attrs['id']], [jid, 'one'])
  await shown(bob, 'hello from a phone')
  await bob.run(['send', 'alice', 'hello from a shell'])
  const answer = await phone.find((stanza) => stanza.getChildText('body') === 'hello from a shell')
  assert.is(answer.attrs['from'], jid)
  // The CLI is another device of the same account.
  await alice.run(['send', 'bob', 'from the command line'])
  await shown(bob, 'from the command line')
  const copy = await phone.find((stanza) => stanza.getChild('sent', 'urn:xmpp:carbons:2') !== undefined)
  const inner = copy.getChild('sent')!.getChild('forwarded')!.getChild('message')!
  assert.equal([inner.attrs['to'], inner.getChildText('body')], [jid, 'from the command line'])
  assert.equal(await textsOf(alice), ['hello from a shell'])

  await alice.kill()
  await bob.run(['send', 'alice', 'while you were dead'])
  await bob.kill()
  await bob.start()
  await alice.start(bob.ready.p2p)
  const again = await login(alice, password)
  await again.find((stanza) => stanza.getChildText('body') === 'while you were dead')
  const bodies = (all: readonly LtxElement[]): (string | null)[] => all.map(
    (stanza) => stanza.getChildText('body'),
  )
  const late = bodies(again.stanzas).filter((text) => text !== null)
  assert.equal(late, [...new Set(late)], 'nothing twice')
  await again.say(jid, 'I am back', 'two')
  await shown(bob, 'I am back')
  assert.equal(await textsOf(bob), ['hello from a phone', 'from the command line', 'I am back'])
})

test.run()
