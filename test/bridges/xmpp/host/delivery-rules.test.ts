/**
 * The delivery rules of RFC 6121 §8.5 as one table: situations of an account down, kinds of stanza
 * across, and a letter for what becomes of it. Each cell is a case, and each is asked with several
 * sets of resources that are alike to the rules.
 */
import * as assert from 'uvu/assert'
import {
  iqDelivery, messageDelivery, messageType, presenceDelivery,
} from '../../../../bridges/xmpp/host/delivery-rules.ts'
import type { Delivery, Reachable } from '../../../../bridges/xmpp/host/delivery-rules.ts'
import { suite } from '../../../helpers/harness.ts'

const test = suite('bridges/xmpp/host/delivery-rules')

const kinds = [
  'message', 'message normal', 'message chat', 'message groupchat', 'message headline',
  'message error', 'message odd',
  'presence', 'presence unavailable', 'iq get', 'iq set', 'iq result', 'iq error',
] as const

/**
 * M: the addressed resource · A: all whose priority is not negative · P: all available · O: kept until
 * one comes · E: `service-unavailable` · S: silence · V: the server answers for the account.
 */
const table = `
  situation        address     none normal chat groupchat headline error odd  pres unav  get set result error
  no account       bare        E    E      E    E         S        S     E    S    S     E   E   S      S
  no account       full        E    E      E    E         S        S     E    S    S     E   E   S      S
  nobody           bare        O    O      O    E         S        S     O    S    S     V   V   S      S
  nobody           full        E    E      O    E         S        S     E    S    S     E   E   S      S
  connected        bare        O    O      O    E         S        S     O    S    S     V   V   S      S
  connected        match       M    M      M    M         M        M     M    M    M     M   M   M      M
  connected        other       E    E      O    E         S        S     E    S    S     E   E   S      S
  negative         bare        O    O      O    E         S        S     O    P    P     V   V   S      S
  negative         match       M    M      M    M         M        M     M    M    M     M   M   M      M
  negative         other       E    E      O    E         S        S     E    S    S     E   E   S      S
  one              bare        A    A      A    E         A        S     A    P    P     V   V   S      S
  one              match       M    M      M    M         M        M     M    M    M     M   M   M      M
  one              other       E    E      A    E         S        S     E    S    S     E   E   S      S
  several          bare        A    A      A    E         A        S     A    P    P     V   V   S      S
  several          match       M    M      M    M         M        M     M    M    M     M   M   M      M
  several          other       E    E      A    E         S        S     E    S    S     E   E   S      S
  mixed            bare        A    A      A    E         A        S     A    P    P     V   V   S      S
  mixed            match       M    M      M    M         M        M     M    M    M     M   M   M      M
  mixed            other       E    E      A    E         S        S     E    S    S     E   E   S      S
`

type Resources = readonly Reachable[] | undefined
const at = (resource: string, priority?: number): Reachable => ({ resource, priority })

/** Several of each situation; the addressed one is always `phone`. */
const situations: Readonly<Record<string, readonly Resources[]>> = {
  'no account': [undefined],
  'nobody': [[]],
  'connected': [[at('phone')], [at('phone'), at('pad')]],
  'negative': [[at('phone', -1)], [at('phone', -128), at('pad', -5)], [at('pad'), at('phone', -1)]],
  'one': [[at('phone', 0)], [at('phone', 127)]],
  'several': [[at('phone', 0), at('pad', 0)], [at('pad', 5), at('phone', 1), at('desk', 127)]],
  'mixed': [
    [at('phone', -1), at('pad', 3)],
    [at('phone', 0), at('pad', -3), at('desk')],
    [at('phone'), at('pad', 0)],
  ],
}

function expected(letter: string, resources: Resources): string {
  const all = resources ?? []
  const names = (some: readonly Reachable[]): string => some.map(({ resource }) => resource).join(',')
  switch (letter) {
    case 'M': return 'deliver phone'
    case 'A': return `deliver ${names(all.filter(({ priority = -1 }) => priority >= 0))}`
    case 'P': return `deliver ${names(all.filter(({ priority }) => priority !== undefined))}`
    case 'O': return 'offline'
    case 'E': return 'refuse service-unavailable'
    case 'V': return 'serve'
    default: return 'ignore'
  }
}

function decided(kind: string, target: { resource: string, resources: Resources }): string {
  const [name, type] = kind.split(' ') as [string, string | undefined]
  const delivery: Delivery<Reachable> | { kind: 'serve' } = name === 'message'
    ? messageDelivery(messageType(type), target)
    : name === 'presence' ? presenceDelivery(target) : iqDelivery(type as 'get', target)
  switch (delivery.kind) {
    case 'deliver': return `deliver ${delivery.to.map(({ resource }) => resource).join(',')}`
    case 'refuse': return `refuse ${delivery.condition}`
    default: return delivery.kind
  }
}

let cases = 0
for (const line of table.trim().split('\n').slice(1)) {
  const [
    situation, address, ...letters
  ] = line.trim().split(/ {2,}| (?=[A-Z](?: |$))/) as [string, string, ...string[]]
  assert.is(letters.length, kinds.length, line)
  const resource = { bare: '', full: 'phone', match: 'phone', other: 'gone' }[address]!
  for (const [column, kind] of kinds.entries()) {
    for (const resources of situations[situation]!) {
      cases++
      const who = resources?.map(
        (one) => `${one.resource} ${one.priority ?? 'connected'}`,
      ).join(', ') ?? 'none'
      test(`${kind} to ${address} of an account with: ${situation} (${who})`, () => {
        assert.is(decided(kind, { resource, resources }), expected(letters[column]!, resources))
      })
    }
  }
}

test('the table has its cases', () => {
  assert.ok(cases >= 330, `${cases} cases`)
})

test.run()
