/**
 * Verification strings of XEP-0115: the two worked examples (§5.2, §5.3), the ill-formed answers of
 * §5.4, and the order that a naive sort gets wrong.
 */
import * as assert from 'uvu/assert'
import { capsHash } from '../../../../bridges/xmpp/xeps/xep-0115-caps.ts'
import { el } from '../../../../bridges/xmpp/xml/element.ts'
import type { XmlElement } from '../../../../bridges/xmpp/xml/element.ts'
import { ns } from '../../../../bridges/xmpp/xml/names.ts'
import { suite } from '../../../helpers/harness.ts'

const test = suite('bridges/xmpp/xeps/xep-0115-caps')

const identity = (attrs: Record<string, string>): XmlElement => el(ns.discoInfo, 'identity', attrs)
const feature = (name: string): XmlElement => el(ns.discoInfo, 'feature', { var: name })
const info = (...children: XmlElement[]): XmlElement => el(ns.discoInfo, 'query', {}, ...children)
const field = (name: string, ...values: string[]): XmlElement => el(ns.dataForm, 'field',
  { var: name, ...name === 'FORM_TYPE' ? { type: 'hidden' } : {} },
  ...values.map((value) => el(ns.dataForm, 'value', {}, value)))
const form = (...fields: XmlElement[]): XmlElement => el(ns.dataForm, 'x', { type: 'result' }, ...fields)

const features = [
  'http://jabber.org/protocol/disco#items', 'http://jabber.org/protocol/caps',
  'http://jabber.org/protocol/muc', 'http://jabber.org/protocol/disco#info',
].map(feature)
const exodus = identity({ category: 'client', type: 'pc', name: 'Exodus 0.9.1' })

test('the simple example has its hash', () => {
  assert.is(capsHash(info(exodus, ...features)), 'QgayPKawpkPSDYmwT/WM94uAlu0=')
})

test('the complex example, with two languages and a form, has its hash', () => {
  const software = form(
    field('FORM_TYPE', 'urn:xmpp:dataforms:softwareinfo'),
    field('software_version', '0.11'), field('os', 'Mac'), field('ip_version', 'ipv6', 'ipv4'),
    field('os_version', '10.5.1'), field('software', 'Psi'),
  )
  const psi = [
    identity({ 'xml:lang': 'en', category: 'client', type: 'pc', name: 'Psi 0.11' }),
    identity({ 'xml:lang': 'el', category: 'client', type: 'pc', name: 'Ψ 0.11' }),
  ]
  assert.is(capsHash(info(...psi, ...features, software)), 'q07IKJEyjvHSyhy//CH0CxmKi8w=')
})

test('a feature stands before one that it begins', () => {
  // With the closing `<` as a part of what is sorted, `#` (before `<`) would turn them round.
  const both = ['urn:xmpp:mam:2', 'urn:xmpp:mam:2#extended'].map(feature)
  const inOrder = capsHash(info(exodus, ...both))
  assert.is(inOrder, capsHash(info(exodus, ...both.toReversed())))
  assert.is(inOrder, 'NdAs2pjcfQaPFo+Am6JCoUpq6b4=')
})

test('an answer with anything twice is ill-formed', () => {
  assert.is(capsHash(info(exodus, exodus)), undefined)
  assert.is(capsHash(info(exodus, feature('a'), feature('a'))), undefined)
  const twice = form(field('FORM_TYPE', 'a'), field('b', 'c'))
  assert.is(capsHash(info(exodus, twice, twice)), undefined)
  assert.is(capsHash(info(exodus, form(field('FORM_TYPE', 'a', 'b')))), undefined)
})

test('a form without a hidden type does not count', () => {
  const plain = form(el(ns.dataForm, 'field', { var: 'FORM_TYPE' }, el(ns.dataForm, 'value', {}, 'a')))
  assert.is(capsHash(info(exodus, ...features, plain)), capsHash(info(exodus, ...features)))
})

test.run()
