/**
 * Hostile input against the whole server in a process of its own. For each: the right condition, what
 * becomes of the stream, memory that does not stay, processor time that nobody could be stalled by,
 * and a client beside it that is still served. The numbers are those of the list of inputs that other
 * servers were tried with; those of the login alone are in c2s/bad-inputs.test.ts, those of servers in
 * s2s/inbound-negotiation.test.ts.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import * as assert from 'uvu/assert'
import { suite } from '../../helpers/harness.ts'
import { RawClient, streamHeader } from '../../helpers/raw-xmpp-client.ts'
import { ScramClient } from '../../helpers/scram-client.ts'
import { XmppChild } from '../../helpers/xmpp-child.ts'

const test = suite('bridges/xmpp/bad-inputs', { timeoutMs: 30_000 })

/** Left over after garbage was collected. */
const bytesMax = 5 * 1024 * 1024
/** Of the whole input, with the collecting of garbage. No wall clock: others use the machine. */
const cpuMsMax = 500

let server: XmppChild
let bystander: RawClient
const clients: RawClient[] = []
test.before(async () => {
  server = await XmppChild.start(2)
  bystander = await bound('loadb0', 'beside')
  // What is made once, with the first of everything.
  await (await bound('loada0', 'first')).drop()
  await beside()
})
test.after.each(() => { for (const client of clients.splice(0)) client.drop() })
test.after(() => server.stop())

async function beside(): Promise<void> {
  bystander.say(`<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>`)
  assert.match(await bystander.hears(/id='p'[^>]*>/), /type='result'/)
}

function kept(client: RawClient): RawClient {
  clients.push(client)
  return client
}

async function plain(): Promise<RawClient> {
  const socket = connect(server.ports.starttls, '127.0.0.1')
  await once(socket, 'connect')
  return kept(new RawClient(socket))
}

async function bound(user: string, resource: string): Promise<RawClient> {
  const socket = connectTls(
    { port: server.ports.tls, host: '127.0.0.1', servername: 'a.test', ca: server.ca.pem },
  )
  await once(socket, 'secureConnect')
  const client = user === 'loadb0' ? new RawClient(socket) : kept(new RawClient(socket))
  client.say(streamHeader)
  await client.hears('</stream:features>')
  const scram = new ScramClient({ hash: 'sha256', username: user, password: server.password })
  const ns = `xmlns='urn:ietf:params:xml:ns:xmpp-sasl'`
  const base64 = (text: string): string => Buffer.from(text).toString('base64')
  client.say(`<auth ${ns} mechanism='SCRAM-SHA-256'>${base64(scram.first())}</auth>`)
  const challenge = /<challenge[^>]*>([^<]*)</.exec(await client.hears('</challenge>'))![1]!
  client.say(`<response ${ns}>${base64(scram.final(Buffer.from(challenge, 'base64').toString()))}</response>`)
  await client.hears('</success>')
  client.say(streamHeader)
  await client.hears('</stream:features>')
  const bind = `<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>${resource}</resource></bind>`
  client.say(`<iq type='set' id='b'>${bind}</iq>`)
  await client.hears('</iq>')
  return client
}

interface BadInput {
  readonly number: number
  readonly what: string
  readonly says: string | readonly string[]
  /** The stream ends with this condition … */
  readonly ends?: string
  /** … or this comes back, and the stream goes on. */
  readonly answers?: RegExp
}

const beforeLogin: readonly BadInput[] = [
  {
    number: 1, what: 'a document type with an entity', ends: 'restricted-xml',
    says: `<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]>${streamHeader.replace(/^<\?.*?\?>/, '')}`,
  },
  {
    number: 2,
    what: 'a comment before the root',
    ends: 'restricted-xml',
    says: `<!-- hi -->${streamHeader}`,
  },
  { number: 3, what: 'a processing instruction', ends: 'restricted-xml', says: `${streamHeader}<?php x?>` },
  {
    number: 4, what: 'another namespace of the stream', ends: 'invalid-namespace',
    says: streamHeader.replace('http://etherx.jabber.org/streams', 'urn:x'),
  },
  {
    number: 5, what: 'another namespace of the stanzas', ends: 'invalid-namespace',
    says: streamHeader.replace('jabber:client', 'urn:x'),
  },
  {
    number: 6, what: 'a domain that is not ours', ends: 'host-unknown',
    says: streamHeader.replace('a.test', 'b.test'),
  },
  {
    number: 7,
    what: 'a request of HTTP',
    ends: 'not-well-formed',
    says: 'GET / HTTP/1.1\r\nHost: a.test\r\n\r\n',
  },
  {
    number: 8, what: 'an attribute of a megabyte', ends: 'policy-violation',
    says: `${streamHeader}<message to='${'a'.repeat(2 ** 20)}'/>`,
  },
  {
    number: 9, what: 'ten thousand elements in each other', ends: 'policy-violation',
    says: streamHeader + '<a>'.repeat(10_000),
  },
  {
    number: 13, what: 'a megabyte that comes in pieces of 64 bytes', ends: 'policy-violation',
    says: [streamHeader, `<auth xmlns='x'>`, ...Array.from({ length: 2 ** 14 }, () => 'a'.repeat(64))],
  },
]

const other = `to='loadb0@a.test'`
const ask = (type: string, payload: string, to = ''): string =>
  `<iq type='${type}' id='1' ${to}>${payload}</iq>`
const archive = (inside = ''): string => `<query xmlns='urn:xmpp:mam:2'>${inside}</query>`
const page = (inside: string): string => `<set xmlns='http://jabber.org/protocol/rsm'>${inside}</set>`
const since = (time: string): string =>
  `<x xmlns='jabber:x:data' type='submit'><field var='start'><value>${time}</value></field></x>`
const bad = (what: string, says: string): BadInput => ({ number: 17, what, says, ends: 'not-well-formed' })
const afterLogin: readonly BadInput[] = [
  bad('a character that is none', `<message><body>&#0;</body></message>`),
  bad('an entity that nobody declared', `<message><body>&foo;</body></message>`),
  bad('a prefix that nobody declared', `<message><x:y/></message>`),
  bad('tags that do not match', `<message><body></message></body>`),
  bad('an attribute twice', `<message to='a@a.test' to='b@a.test'/>`),
  bad('an attribute twice by two prefixes', `<message xmlns:a='u' xmlns:b='u' a:c='1' b:c='2'/>`),
  bad('a bracket in an attribute', `<message to='<'/>`),
  bad('the end of a section in text', `<message><body>]]></body></message>`),
  {
    number: 18, what: 'a body of 300 KB', ends: 'policy-violation',
    says: `<message to='loadb0@a.test'><body>${'a'.repeat(300_000)}</body></message>`,
  },
  {
    number: 19, what: 'a payload 2,000 deep', ends: 'policy-violation',
    says: `<message>${'<a xmlns="u">'.repeat(2_000)}${'</a>'.repeat(2_000)}</message>`,
  },
  {
    number: 20, what: 'an element that is no stanza', ends: 'unsupported-stanza-type',
    says: `<hello xmlns='u'/>`,
  },
  {
    number: 21, what: 'a request without an id', answers: /<bad-request/,
    says: `<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>`,
  },
  {
    number: 21, what: 'a request with two children', answers: /<bad-request/,
    says: ask('get', `<a xmlns='u'/><b xmlns='u'/>`),
  },
  {
    number: 21, what: 'a request of no type', answers: /<bad-request/, says: `<iq id='1'><a xmlns='u'/></iq>`,
  },
  {
    number: 21, what: 'a request that nobody knows', answers: /<service-unavailable/,
    says: ask('get', `<a xmlns='u'/>`),
  },
  {
    number: 22, what: 'a local part of 1,024 bytes', answers: /<jid-malformed/,
    says: `<message to='${'a'.repeat(1_024)}@a.test' id='1'><body>x</body></message>`,
  },
  {
    number: 32, what: 'a copy that it claims somebody else received', answers: /id='1'/,
    says: [
      `<message to='loadb0@a.test/beside' type='chat' id='0'><received xmlns='urn:xmpp:carbons:2'>`,
      `<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='mum@a.test'>`,
      `<body>send money</body></message></forwarded></received></message>`,
      ask('get', `<ping xmlns='urn:xmpp:ping'/>`),
    ],
  },
  { number: 35, what: 'the archive of another', answers: /<forbidden/, says: ask('set', archive(), other) },
  {
    number: 36, what: 'the roster of another', answers: /<forbidden/,
    says: ask('get', `<query xmlns='jabber:iq:roster'/>`, other),
  },
  {
    number: 36, what: 'a roster push to another', answers: /<forbidden/,
    says: ask('set', `<query xmlns='jabber:iq:roster'><item jid='evil@a.test'/></query>`, other),
  },
  {
    number: 37, what: 'the private records of another', answers: /<forbidden/,
    says: ask('get', `<query xmlns='jabber:iq:private'><a xmlns='u'/></query>`, other),
  },
  {
    number: 44, what: 'a page of an archive of a billion', answers: /<fin/,
    says: ask('set', archive(page('<max>1000000000</max>'))),
  },
  {
    number: 44, what: 'a page of an archive before a word of SQL', answers: /<item-not-found/,
    says: ask('set', archive(page(`<before>' OR 1=1 --</before>`))),
  },
  {
    number: 46, what: 'an archive of times far away', answers: /<fin/,
    says: ask('set', archive(since('9999-12-31T23:59:59Z'))),
  },
  {
    number: 46, what: 'an archive of a time that is none', answers: /<bad-request/,
    says: ask('set', archive(since('-1'))),
  },
]

async function play(client: RawClient, { says, ends, answers }: BadInput): Promise<void> {
  const before = await server.cost()
  for (const text of typeof says === 'string' ? [says] : says) client.say(text)
  if (ends !== undefined) assert.match(await client.end(), new RegExp(`<stream:error><${ends}[ />]`))
  else await client.hears(answers!)
  const after = await server.cost()
  const grown = after.bytes - before.bytes
  assert.ok(grown < bytesMax, `${grown} bytes stayed`)
  assert.ok(after.cpuMs - before.cpuMs < cpuMsMax, `${after.cpuMs - before.cpuMs} ms of processor time`)
  await beside()
}

for (const input of beforeLogin) {
  test(`${input.number}: ${input.what}, before the login`, async () => play(await plain(), input))
}
for (const input of afterLogin) {
  test(`${input.number}: ${input.what}`, async () => play(await bound('loada0', 'evil'), input))
}

test('17: bytes that are no UTF-8', async () => {
  const socket = connect(server.ports.starttls, '127.0.0.1')
  await once(socket, 'connect')
  const client = kept(new RawClient(socket))
  socket.write(Buffer.concat([Buffer.from(streamHeader), Buffer.from([0xed, 0xa0, 0x80])]))
  assert.match(await client.end(), /<stream:error><not-well-formed/)
  await beside()
})

test('33: an id and a delay in our name are taken away before anybody sees them', async () => {
  const evil = await bound('loada0', 'evil')
  const id = `<stanza-id xmlns='urn:xmpp:sid:0' by='loadb0@a.test' id='forged'/>`
  const delay = `<delay xmlns='urn:xmpp:delay' from='a.test' stamp='2001-01-01T00:00:00Z'/>`
  evil.say(`<message to='loadb0@a.test/beside' type='chat'><body>first</body>${id}${id}${delay}</message>`)
  const got = await bystander.hears('</message>')
  assert.not.match(got, /forged|2001-01-01/)
  assert.match(got, /<stanza-id xmlns='urn:xmpp:sid:0' by='loadb0@a\.test' id='[0-9a-f]{16}'\/>/)
})

test('45: personal nodes and private records have an end', async () => {
  const evil = await bound('loada0', 'evil')
  const before = await server.cost()
  for (let i = 0; i < 300; i++) {
    const item = `<publish node='n${i}'><item><a xmlns='u'/></item></publish>`
    evil.say(
      `<iq type='set' id='${i}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>${item}</pubsub></iq>`,
    )
  }
  const answers = await evil.hears(/id='299'[^>]*>/)
  assert.match(answers, /<resource-constraint/)
  assert.ok((await server.cost()).bytes - before.bytes < bytesMax)
  await beside()
})

test.run()
