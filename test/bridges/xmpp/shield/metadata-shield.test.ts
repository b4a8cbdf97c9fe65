/**
 * Tests of bridges/xmpp/shield/ between two domains whose service accounts are real clients over the
 * memory overlay: which way stanzas go, who is believed, and what crashes leave.
 */
import * as assert from 'uvu/assert'
import { formatPiece, writeBatch } from '../../../../bridges/xmpp/shield/batch.ts'
import { shieldNs } from '../../../../bridges/xmpp/shield/names.ts'
import { el } from '../../../../bridges/xmpp/xml/element.ts'
import { ns } from '../../../../bridges/xmpp/xml/names.ts'
import { World } from '../../../helpers/client-actors.ts'
import { suite } from '../../../helpers/harness.ts'
import { ShieldHouse, TestWeb } from '../../../helpers/shield-house.ts'

const test = suite('bridges/xmpp/shield/metadata-shield', { timeoutMs: 60_000 })

interface Ground {
  readonly world: World
  readonly web: TestWeb
}

async function ground(seed: string): Promise<Ground> {
  return { world: new World(seed), web: new TestWeb() }
}

async function pair(seed: string): Promise<Ground & { a: ShieldHouse, b: ShieldHouse }> {
  const made = await ground(seed)
  const a = await ShieldHouse.open(made, 'a.test')
  const b = await ShieldHouse.open(made, 'b.test')
  return { ...made, a, b }
}

async function end({ world, web }: Ground): Promise<void> {
  await world.run(Promise.all([...web.houses.values()].map((house) => house.stop())))
  await world.end()
}

test('two domains that run openIM find each other, and nothing goes in the open', async () => {
  const { world, web, a, b } = await pair('find')
  await world.run(a.say('you@b.test', 'one'))
  await world.run(a.say('you@b.test', 'two'))
  await world.until(async () => (await b.texts()).length === 2)
  assert.equal(await b.texts(), ['one', 'two'])
  await world.run(b.say('me@a.test', 'back'))
  await world.until(async () => (await a.texts()).length === 1)
  assert.equal([a.plain, b.plain, a.bounced, b.bounced], [[], [], [], []])
  const [described] = a.shield.describe()
  assert.equal([described?.domain, described?.by, described?.waiting], ['b.test', 'sealed', 0])
  assert.type(described?.sealedSinceMs, 'number')
  await end({ world, web })
})

test('a message says that it came sealed, and nobody else can say so', async () => {
  const { world, web, a, b } = await pair('label')
  const forged = el(shieldNs, 'sealed', { by: 'me' })
  await world.run(a.send('message', { to: 'you@b.test' }, el(ns.client, 'body', {}, 'hello'), forged))
  await world.until(async () => (await b.mail()).length === 1)
  const marks = (await b.mail())[0]!.elements('sealed', shieldNs)
  assert.equal(marks.map(({ attrs }) => attrs), [{}])
  await end({ world, web })
})

test('whoever has no shield is reached over s2s, in order, and asked about once', async () => {
  const made = await ground('absent')
  const a = await ShieldHouse.open(made, 'a.test')
  await made.world.run(Promise.all(['1', '2', '3'].map((text) => a.say('you@other.test', text))))
  await made.world.until(() => a.plain.length === 3)
  await made.world.run(a.say('you@other.test', '4'))
  assert.equal(a.plain.map((stanza) => stanza.childText('body')), ['1', '2', '3', '4'])
  assert.is(made.web.asked, 1)
  await end(made)
})

test('a required domain without a shield is bounced with the reason', async () => {
  const made = await ground('require')
  const a = await ShieldHouse.open(made, 'a.test', { required: ['other.test'] })
  await made.world.run(a.say('you@other.test', 'hello'))
  await made.world.until(() => a.bounced.length === 1)
  assert.match(a.bounced[0]!.child('error')!.childText('text', ns.stanzaErrors)!, 'sealed alone')
  assert.equal(a.plain, [])
  await end(made)
})

test('a domain that was reached sealed is never reached in the open while it is pinned', async () => {
  const { world, web, a, b } = await pair('pin')
  await world.run(a.say('you@b.test', 'one'))
  await world.until(async () => (await b.texts()).length === 1)
  await world.clock.advance(1_000)
  web.lies.set('b.test', { ok: false, why: 'absent', text: 'somebody is in the way' })
  // The proof of a day is over.
  await world.clock.advance(25 * 3_600_000)
  await world.run(a.say('you@b.test', 'two'))
  await world.clock.advance(60_000)
  assert.equal([a.plain.length, (await b.texts()).length], [0, 1])
  web.lies.delete('b.test')
  await world.until(async () => (await b.texts()).length === 2)
  await end({ world, web })
})

test('what waits too long goes back: requests after a minute, messages after half an hour', async () => {
  const { world, web, a, b } = await pair('patience')
  await world.run(a.say('you@b.test', 'one'))
  await world.until(async () => (await b.texts()).length === 1)
  web.lies.set('b.test', { ok: false, why: 'unreachable', text: 'no answer' })
  await world.clock.advance(25 * 3_600_000)
  await world.run(a.send('iq', { to: 'b.test', type: 'get', id: 'q' }, el('urn:xmpp:ping', 'ping')))
  await world.run(a.send('presence', { to: 'you@b.test' }))
  await world.run(a.say('you@b.test', 'two'))
  await world.clock.advance(70_000)
  const early = a.bounced.map(({ name, attrs }) => [name, attrs['id']])
  assert.equal(early, [['iq', 'q'], ['presence', undefined]])
  await world.clock.advance(31 * 60_000)
  assert.equal(a.bounced.map(({ name }) => name), ['iq', 'presence', 'message'])
  assert.equal([a.plain, a.shield.describe()[0]?.waiting], [[], 0])
  await end({ world, web })
})

test('a stanza larger than a message goes in pieces', async () => {
  const { world, web, a, b } = await pair('large')
  const large = '\u{1f600}é'.repeat(60_000)
  await world.run(a.say('you@b.test', large))
  await world.run(a.say('you@b.test', 'after it'))
  await world.until(async () => (await b.texts()).length === 2)
  assert.equal(await b.texts(), [large, 'after it'])
  await end({ world, web })
})

test('services below a domain are reached through its account', async () => {
  const { world, web, a, b } = await pair('services')
  await world.run(a.say('tea@rooms.b.test', 'one'))
  await world.until(async () => (await b.texts()).length === 1)
  assert.equal(a.plain, [])
  await end({ world, web })
})

/** Says something as the account of a house, past its shield. */
async function speak(from: ShieldHouse, to: ShieldHouse, text: string): Promise<void> {
  await from.person.client.send(await to.address(), text)
}

function batch(domain: string, from: string, number = 0): string {
  const message = el(ns.client, 'message', { from, to: 'you@b.test' }, el(ns.client, 'body', {}, 'forged'))
  return formatPiece({
    domain, epoch: '00000000000000ff', number, base: 0, piece: 0, pieces: 1, takenAtMs: Date.now(),
    text: writeBatch([message]),
  })
}

test('an account that a domain does not name says nothing for it', async () => {
  const { world, web, a, b } = await pair('liar')
  const mallory = await ShieldHouse.open({ world, web }, 'm.test')
  await world.run(mallory.say('you@b.test', 'hello'))
  await world.run(a.say('you@b.test', 'hello'))
  await world.until(async () => (await b.texts()).length === 2)
  // In the name of a domain that is known, of one that has no shield, of somebody else in its own.
  await world.run(speak(mallory, b, batch('a.test', 'me@a.test')))
  await world.run(speak(mallory, b, batch('m.test', 'me@a.test')))
  await world.run(speak(mallory, b, 'no batch at all'))
  await world.run(mallory.say('you@b.test', 'the end'))
  await world.until(async () => (await b.texts()).includes('the end'))
  assert.equal((await b.texts()).filter((text) => text === 'forged'), [])
  assert.ok(b.log.some((line) => line.includes('who does not speak for the domain')))
  assert.ok(b.log.some((line) => line.includes('wrong address')))
  await end({ world, web })
})

test('an offer in the name of a domain that names another account is refused', async () => {
  const { world, web, b } = await pair('forged offer')
  const mallory = await ShieldHouse.open({ world, web }, 'm.test')
  const { uri } = await world.run(mallory.person.client.invite())
  b.offered({ domain: 'a.test', invite: uri })
  await world.clock.advance(5_000)
  assert.equal(await b.person.client.contacts(), [])
  assert.ok(b.log.some((line) => line.includes('an offer of a domain was refused')))
  await end({ world, web })
})

test('a batch that is said again is taken once', async () => {
  const { world, web, a, b } = await pair('replay')
  await world.run(a.say('you@b.test', 'hello'))
  await world.until(async () => (await b.texts()).length === 1)
  const again = batch('a.test', 'me@a.test')
  for (let i = 0; i < 3; i++) await world.run(speak(a, b, again))
  await world.run(a.say('you@b.test', 'the end'))
  await world.until(async () => (await b.texts()).includes('the end'))
  assert.is((await b.texts()).filter((text) => text === 'forged').length, 1)
  await end({ world, web })
})

test('what one batch is missing keeps those behind it waiting two minutes, and comes late then', async () => {
  const { world, web, a, b } = await pair('gap')
  await world.run(a.say('you@b.test', 'hello'))
  await world.until(async () => (await b.texts()).length === 1)
  await world.run(speak(a, b, batch('a.test', 'me@a.test', 1)))
  await world.clock.advance(60_000)
  assert.is((await b.texts()).length, 1)
  await world.clock.advance(70_000)
  assert.is((await b.texts()).length, 2)
  await world.run(speak(a, b, batch('a.test', 'me@a.test', 0)))
  await world.until(async () => (await b.texts()).length === 3)
  await end({ world, web })
})

test('when another account speaks for a domain, the old one is forgotten and nothing is lost', async () => {
  const { world, web, a, b } = await pair('moved')
  await world.run(a.say('you@b.test', 'one'))
  await world.until(async () => (await b.texts()).length === 1)
  const old = await b.address()
  // The node of b.test is set up anew; what was on its way is not read there any more.
  b.crash()
  await world.run(a.say('you@b.test', 'two'))
  await world.clock.advance(10_000)
  const fresh = await ShieldHouse.open({ world, web }, 'b.test', { person: 'set up anew' })
  await world.clock.advance(13 * 3_600_000)
  await world.run(a.say('you@b.test', 'three'))
  await world.until(async () => (await fresh.texts()).length === 2, { withinMs: 15 * 60_000, stepMs: 1_000 })
  assert.equal(await fresh.texts(), ['two', 'three'])
  assert.is((await a.person.client.contacts()).some(({ address }) => address === old), false)
  assert.equal(a.plain, [])
  await end({ world, web })
})

for (const victim of ['sender', 'receiver'] as const) {
  test(`crashes of the ${victim} under load lose nothing and double nothing`, async () => {
    const { world, web, a, b } = await pair(`crash ${victim}`)
    const house = victim === 'sender' ? a : b
    const promised: string[] = []
    await world.run(a.say('you@b.test', 'first'))
    promised.push('first')
    await world.until(async () => (await b.texts()).length === 1)
    for (let round = 0; round < 8; round++) {
      for (let i = 0; i < 25; i++) {
        const text = `${round}.${i}`
        void a.say('you@b.test', text).then(() => promised.push(text))
        await world.clock.advance(7)
      }
      house.crash()
      await world.clock.advance(300)
      await world.run(house.recover())
      await world.clock.advance(200 * round)
    }
    await world.until(async () => {
      const texts = new Set(await b.texts())
      return promised.every((text) => texts.has(text))
    }, { withinMs: 10 * 60_000, stepMs: 1_000 })
    await world.clock.advance(60_000)
    const texts = await b.texts()
    assert.equal(texts.length, new Set(texts).size, 'nothing twice')
    assert.ok(promised.length > 150, `${promised.length} promised`)
    assert.equal([a.plain, a.bounced], [[], []])
    await end({ world, web })
  })
}

test.run()
