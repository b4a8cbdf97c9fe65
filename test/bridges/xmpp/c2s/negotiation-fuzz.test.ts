/**
 * Clients that send anything in any order, at each stage of their stream: nothing of it is an error of
 * ours, nobody gets a session without a login, and a stream ends with a condition of the RFC.
 */
import * as assert from 'uvu/assert'
import { streamConditions } from '../../../../bridges/xmpp/stream/stream-errors.ts'
import { el } from '../../../../bridges/xmpp/xml/element.ts'
import type { XmlElement, XmlNode } from '../../../../bridges/xmpp/xml/element.ts'
import { ns } from '../../../../bridges/xmpp/xml/names.ts'
import { suite } from '../../../helpers/harness.ts'
import { base64, ScriptedServer } from '../../../helpers/scripted-stream.ts'
import type { ScriptedStream } from '../../../helpers/scripted-stream.ts'
import { randomChoice, randomInteger, seededRandom } from '../../../helpers/seeded-random.ts'

const test = suite('bridges/xmpp/c2s/negotiation-fuzz', { timeoutMs: 60_000 })

const streamsPerStage = 1_000
const elementsPerStream = 6

const namespaces = [
  ns.client, ns.sasl, ns.sasl2, ns.bind, ns.bind2, ns.fast, ns.sm, ns.tls, ns.session, ns.stream,
  'urn:xmpp:csi:0', 'jabber:iq:register', 'urn:unknown',
]
const names = [
  'auth', 'authenticate', 'response', 'initial-response', 'abort', 'user-agent', 'bind', 'resource', 'tag',
  'enable', 'resume', 'r', 'a', 'request-token', 'fast', 'starttls', 'session', 'active', 'inactive', 'iq',
  'message', 'presence', 'body', 'query', 'error',
]
const attributes: Readonly<Record<string, readonly string[]>> = {
  mechanism: ['SCRAM-SHA-1', 'SCRAM-SHA-256-PLUS', 'PLAIN', 'HT-SHA-256-NONE', 'EXTERNAL', '', '\u0000'],
  id: ['', '1', 'x'.repeat(300)],
  type: ['get', 'set', 'result', 'error', 'chat', 'unavailable', ''],
  to: ['alice@a.test', 'bob@a.test/x', 'a.test', '@', ''],
  from: ['alice@a.test', 'bob@a.test', '@/'],
  h: ['0', '1', '-1', '4294967295', '4294967296', 'x', '99999999999999999999'],
  previd: ['', 'guessed'],
  resume: ['true', '1', 'no'],
  max: ['0', '5', '99999999999', 'x'],
  count: ['0', '1', '-1', 'x', '999999999999999999'],
  invalidate: ['true', 'x'],
}
const texts = [
  '', '=', ' ', '%%', 'laptop', '\ud800',
  ...[
    'n,,n=alice,r=abc', 'y,,n=alice,r=abc', 'p=tls-exporter,,n=alice,r=a', 'c=biws,r=abc,p=AAAA',
    '\0alice\0guess', `alice\0${'x'.repeat(32)}`,
  ].map(base64),
]

for (const stage of ['plain', 'secure', 'logged in', 'bound'] as const) {
  test(`takes anything from a client that is ${stage}`, async () => {
    const random = seededRandom(`negotiation ${stage}`)
    const element = (depth: number): XmlElement => {
      const attrs = Object.fromEntries(Array.from({ length: randomInteger(random, 4) }, () => {
        const name = randomChoice(random, Object.keys(attributes))
        return [name, randomChoice(random, attributes[name]!)]
      }))
      const children: XmlNode[] = depth === 0 ? [] : Array.from({ length: randomInteger(random, 4) }, () =>
        randomInteger(random, 3) === 0 ? randomChoice(random, texts) : element(depth - 1))
      return el(randomChoice(random, namespaces), randomChoice(random, names), attrs, ...children)
    }
    const server = new ScriptedServer()
    const password = await server.password('alice')
    for (let i = 0; i < streamsPerStage; i++) {
      const stream = server.connect({ isSecure: stage !== 'plain' })
      await enter(stream, stage, password)
      await stream.says(...Array.from({ length: elementsPerStream }, () => element(2)))
      if (stage === 'plain' || stage === 'secure') assert.is(stream.session, undefined)
      const { condition } = stream
      assert.ok(condition === undefined || streamConditions.some((one) => one === condition), condition)
      await stream.cut()
    }
    assert.equal(server.errors, [])
    // Those that count wait to be resumed, and no longer than that.
    await server.clock.advance(11 * 60_000)
    assert.is(server.sessions.size, 0)
    assert.is(server.clock.pending, 0)
  })
}

async function enter(stream: ScriptedStream, stage: string, password: string): Promise<void> {
  if (stage === 'plain' || stage === 'secure') {
    stream.header()
    return
  }
  await stream.login('alice', password)
  if (stage === 'bound') await stream.bind()
}

test.run()
