/** Contact Addresses for XMPP Services (XEP-0157 1.1.1): where abuse is told. */
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'

/** A form for the server's own discovery; fields are `abuse-addresses`, `admin-addresses` … */
export function contactForm(addresses: Readonly<Record<string, readonly string[]>>): XmlElement {
  const field = (
    name: string, type: string, values: readonly string[],
  ): XmlElement => el(ns.dataForm, 'field',
    { var: name, type }, ...values.map((value) => el(ns.dataForm, 'value', {}, value)))
  return el(ns.dataForm, 'x', { type: 'result' },
    field('FORM_TYPE', 'hidden', ['http://jabber.org/network/serverinfo']),
    ...Object.entries(addresses).map(([name, values]) => field(name, 'list-multi', values)))
}
