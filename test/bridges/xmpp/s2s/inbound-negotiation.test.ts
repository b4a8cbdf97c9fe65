/**
 * Tests of bridges/xmpp/s2s/inbound-negotiation.ts and dialback.ts: who may say what over a stream that
 * another server opened, and how the rest is refused.
 */
import * as assert from 'uvu/assert'
import { DialbackKeys, dialbackNs } from '../../../../bridges/xmpp/s2s/dialback.ts'
import type { DialbackPair } from '../../../../bridges/xmpp/s2s/dialback.ts'
import { InboundNegotiation } from '../../../../bridges/xmpp/s2s/inbound-negotiation.ts'
import type { InboundAction } from '../../../../bridges/xmpp/s2s/negotiation.ts'
import { el } from '../../../../bridges/xmpp/xml/element.ts'
import type { XmlElement } from '../../../../bridges/xmpp/xml/element.ts'
import { ns } from '../../../../bridges/xmpp/xml/names.ts'
import { writeElement } from '../../../../bridges/xmpp/xml/text.ts'
import { suite } from '../../../helpers/harness.ts'

const test = suite('bridges/xmpp/s2s/inbound-negotiation')

const keys = new DialbackKeys(Buffer.from('ours'))
interface Setting {
  readonly certified?: readonly string[]
  readonly dialback?: boolean
  readonly isSecured?: boolean
}

let ids = 0
function negotiation(setting: Setting = {}): InboundNegotiation {
  const { certified = [], dialback = false, isSecured = true } = setting
  return new InboundNegotiation({
    isOurs: (domain) => domain === 'o.test' || domain.endsWith('.o.test'),
    isBlocked: (domain) => domain === 'spam.test',
    allowsDialback: () => dialback,
    judge: (domain) => certified.includes(domain) ? { ok: true }
      : { ok: false, reason: 'expired', text: 'has expired' },
    newStreamId: () => `id${ids++}`,
    keys,
  }, { isSecured })
}

/** Actions in short: what is sent as text, or `close condition`. */
function shown(actions: readonly InboundAction[]): string[] {
  return actions.map((action) => {
    switch (action.do) {
      case 'send': return writeElement(action.element)
      case 'close': return `close ${action.error?.condition ?? ''}`.trim()
      case 'proven': return `proven ${action.domain} by ${action.by}`
      case 'verify': return `verify ${action.pair.originating} ${action.key}`
      default: return action.do
    }
  })
}

const header = { from: 'a.test', to: 'o.test', version: '1.0' }
const auth = (domain: string, mechanism = 'EXTERNAL'): XmlElement =>
  el(ns.sasl, 'auth', { mechanism }, domain === '' ? '=' : Buffer.from(domain).toString('base64'))
const message = (from: string | undefined, to: string | undefined): XmlElement =>
  el(ns.client, 'message', { from, to }, el(ns.client, 'body', {}, 'hi'))
const result = (attrs: Record<string, string>, key = 'k'): XmlElement => el(dialbackNs, 'result', attrs, key)

/** Opened, over TLS, and a.test proven by certificate. */
function proven(): InboundNegotiation {
  const one = negotiation({ certified: ['a.test'] })
  one.opened(header)
  one.element(auth('a.test'))
  one.opened(header)
  return one
}

test('keys are those of XEP-0185', () => {
  const published = new DialbackKeys(Buffer.from('s3cr3tf0rd14lb4ck'))
  const pair = { receiving: 'xmpp.example.com', originating: 'example.org', id: 'D60000229F' }
  assert.is(published.key(pair), '37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643')
  assert.ok(published.isKey(pair, published.key(pair)))
  assert.not.ok(published.isKey({ ...pair, id: 'another' }, published.key(pair)))
})

test('headers to nobody, to strangers, from us and from the blocked are refused', () => {
  const refusals: [object, string][] = [
    [{ to: undefined }, 'improper-addressing'], [{ to: 'x.test' }, 'host-unknown'],
    [{ from: 'o.test' }, 'invalid-from'], [{ from: 'rooms.o.test' }, 'invalid-from'],
    [{ from: 'me@a.test' }, 'invalid-from'], [{ from: 'spam.test' }, 'policy-violation'],
    [{ version: undefined }, 'unsupported-version'], [{ version: '0.9' }, 'unsupported-version'],
  ]
  for (const [change, condition] of refusals) {
    assert.equal(shown(negotiation().opened({ ...header, ...change })), ['header', `close ${condition}`])
  }
})

test('nothing goes before TLS, and TLS begins once', () => {
  const begun = (): InboundNegotiation => {
    const one = negotiation({ isSecured: false, certified: ['a.test'] })
    const features = shown(one.opened(header))[1]!
    assert.ok(features.includes('<required/>'))
    assert.not.ok(features.includes('EXTERNAL') || features.includes('dialback'))
    return one
  }
  const stanza = message('me@a.test', 'you@o.test')
  for (const early of [auth('a.test'), stanza, result({ from: 'a.test', to: 'o.test' })]) {
    assert.equal(shown(begun().element(early)), ['close policy-violation'])
  }
  const one = begun()
  assert.equal(shown(one.element(el(ns.tls, 'starttls'))).slice(1), ['secure'])
  assert.equal(shown(one.element(message('me@a.test', 'you@o.test'))), ['close not-authorized'])
  const secured = negotiation()
  secured.opened(header)
  assert.equal(shown(secured.element(el(ns.tls, 'starttls'))), ['close policy-violation'])
})

test('EXTERNAL is offered and accepted where the certificate proves the domain, and nowhere else', () => {
  const one = negotiation({ certified: ['a.test'] })
  assert.ok(shown(one.opened(header))[1]!.includes('EXTERNAL'))
  const accepted = shown(one.element(auth(''))).map((text) => text.split(' ')[0])
  assert.equal(accepted, ['proven', '<success', 'restart'])
  assert.ok(shown(one.opened(header))[1]!.includes('urn:xmpp:sm:3'))
  const bad = negotiation()
  assert.not.ok(shown(bad.opened(header))[1]!.includes('EXTERNAL'))
  assert.ok(shown(bad.element(auth('a.test')))[0]!.includes('not-authorized'))
  const other = negotiation({ certified: ['a.test', 'b.test'] })
  other.opened(header)
  assert.ok(shown(other.element(auth('b.test')))[0]!.includes('invalid-authzid'))
  assert.ok(shown(other.element(auth('a.test', 'PLAIN')))[0]!.includes('invalid-mechanism'))
})

test('guessing ends the stream', () => {
  const one = negotiation()
  one.opened(header)
  const said = Array.from({ length: 5 }, () => shown(one.element(auth('a.test')))).flat()
  assert.is(said.at(-1), 'close policy-violation')
})

test('stanzas pass from proven domains to ours, and no other', () => {
  assert.equal(shown(proven().element(message('me@a.test/x', 'you@rooms.o.test'))), ['stanza'])
  const refusals: [XmlElement, string][] = [
    [message('me@b.test', 'you@o.test'), 'invalid-from'],
    [message('me@o.test', 'you@o.test'), 'invalid-from'],
    [message('me@sub.a.test', 'you@o.test'), 'invalid-from'],
    [message(undefined, 'you@o.test'), 'improper-addressing'],
    [message('me@a.test', undefined), 'improper-addressing'],
    [message('me@a.test', 'you@c.test'), 'host-unknown'],
    [el(ns.client, 'note', { from: 'a.test', to: 'o.test' }), 'unsupported-stanza-type'],
    [el('urn:x', 'message', { from: 'a.test', to: 'o.test' }), 'unsupported-stanza-type'],
  ]
  for (const [stanza, condition] of refusals) {
    assert.equal(shown(proven().element(stanza)), [`close ${condition}`], writeElement(stanza))
  }
  const unproven = negotiation({ certified: ['a.test'] })
  unproven.opened(header)
  assert.equal(shown(unproven.element(message('me@a.test', 'you@o.test'))), ['close not-authorized'])
})

test('the addresses of a proven stream cannot change under it', () => {
  const one = negotiation({ certified: ['a.test'] })
  one.opened(header)
  one.element(auth('a.test'))
  assert.equal(shown(one.opened({ ...header, from: 'b.test' })), ['header', 'close not-authorized'])
})

test('a certificate is proof enough for db:result, and without one policy decides', () => {
  const attrs = { from: 'a.test', to: 'o.test' }
  const good = negotiation({ certified: ['a.test'] })
  good.opened(header)
  assert.equal(shown(good.element(result(attrs)))[0], 'proven a.test by certificate')
  const strict = negotiation()
  strict.opened(header)
  const refusal = shown(strict.element(result(attrs)))[0]!
  assert.match(refusal, /not-authorized.*the certificate of a\.test has expired/)
  const lax = negotiation({ dialback: true })
  lax.opened(header)
  assert.equal(shown(lax.element(result(attrs))), ['verify a.test k'])
  assert.equal(shown(lax.element(message('me@a.test', 'you@o.test'))), ['close not-authorized'])
})

test('an answer about a key counts for the pair and the stream it was asked for', () => {
  const begin = (): { one: InboundNegotiation, pair: DialbackPair } => {
    const one = negotiation({ dialback: true })
    one.opened(header)
    const [action] = one.element(result({ from: 'a.test', to: 'o.test' }))
    assert.ok(action?.do === 'verify')
    return { one, pair: action.pair }
  }
  const { one, pair } = begin()
  assert.equal(one.verified({ ...pair, id: 'other' }, 'valid'), [])
  assert.equal(one.verified({ ...pair, originating: 'b.test' }, 'valid'), [])
  assert.equal(one.verified({ ...pair, receiving: 'rooms.o.test' }, 'valid'), [])
  assert.is(shown(one.verified(pair, 'valid'))[0], 'proven a.test by dialback')
  assert.equal(one.verified(pair, 'valid'), [], 'twice')
  assert.equal(shown(one.element(message('me@b.test', 'you@o.test'))), ['close invalid-from'])
  const refused = begin()
  assert.match(shown(refused.one.verified(refused.pair, 'invalid'))[0]!, /type='invalid'/)
  const silent = begin()
  assert.match(shown(silent.one.verified(silent.pair, 'no-answer'))[0]!, /remote-server-timeout/)
})

test('answers that nobody asked for end the stream', () => {
  for (const name of ['result', 'verify']) {
    const one = negotiation({ dialback: true })
    one.opened(header)
    const forged = el(dialbackNs, name, { from: 'a.test', to: 'o.test', id: 'x', type: 'valid' })
    assert.equal(shown(one.element(forged)), ['close invalid-from'])
  }
})

test('our own keys are confirmed to whoever asks, each for its pair and stream alone', () => {
  const pair = { receiving: 'a.test', originating: 'o.test', id: 'theirs' }
  const ask = (attrs: Record<string, string>, key = keys.key(pair)): string => {
    const one = negotiation()
    one.opened(header)
    const all = { from: 'a.test', to: 'o.test', id: 'theirs', ...attrs }
    return shown(one.element(el(dialbackNs, 'verify', all, key)))[0]!
  }
  assert.match(ask({}), /type='valid'/)
  assert.match(ask({ id: 'another' }), /type='invalid'/)
  assert.match(ask({ from: 'b.test' }), /type='invalid'/)
  assert.match(ask({ to: 'rooms.o.test' }), /type='invalid'/)
  assert.match(ask({ to: 'x.test' }), /item-not-found/)
  assert.match(ask({}, 'guess'), /type='invalid'/)
})

test('another domain on the same stream proves itself, and blocked or own ones do not', () => {
  const one = proven()
  assert.match(shown(one.element(result({ from: 'spam.test', to: 'o.test' })))[0]!, /policy-violation/)
  assert.match(shown(one.element(result({ from: 'b.test', to: 'x.test' })))[0]!, /item-not-found/)
  assert.match(shown(one.element(result({ from: 'b.test', to: 'o.test' })))[0]!, /not-authorized/)
  assert.equal(shown(one.element(message('me@a.test', 'you@o.test'))), ['stanza'], 'still proven')
  assert.equal(shown(one.element(result({ from: 'o.test', to: 'o.test' }))), ['close invalid-from'])
})

test('stream management waits for proof', () => {
  const one = negotiation()
  one.opened(header)
  assert.equal(shown(one.element(el(ns.sm, 'enable'))), ['close unsupported-stanza-type'])
  assert.equal(shown(proven().element(el(ns.sm, 'enable'))), ['manage'])
  assert.equal(shown(proven().element(el(ns.sm, 'r'))), ['close unsupported-stanza-type'])
})

test.run()
