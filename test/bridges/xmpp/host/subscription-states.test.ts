/**
 * Subscription states (RFC 6121 Appendix A): the tables of the RFC, and two rosters that are played
 * against each other by every sequence of words up to a length: they never end in states that disagree.
 */
import * as assert from 'uvu/assert'
import {
  inbound, noSubscription, outbound, subscriptionName,
} from '../../../../bridges/xmpp/host/subscription-states.ts'
import type {
  SubscriptionState, SubscriptionType,
} from '../../../../bridges/xmpp/host/subscription-states.ts'
import { suite } from '../../../helpers/harness.ts'

const test = suite('bridges/xmpp/host/subscription-states')
const types: readonly SubscriptionType[] = ['subscribe', 'subscribed', 'unsubscribe', 'unsubscribed']

/** The nine states of RFC 6121 §A.1, by name. */
const states: Readonly<Record<string, SubscriptionState>> = {
  'None': noSubscription,
  'None+Out': { ...noSubscription, ask: true },
  'None+In': { ...noSubscription, pendingIn: true },
  'None+Out+In': { ...noSubscription, ask: true, pendingIn: true },
  'To': { ...noSubscription, to: true },
  'To+In': { ...noSubscription, to: true, pendingIn: true },
  'From': { ...noSubscription, from: true },
  'From+Out': { ...noSubscription, from: true, ask: true },
  'Both': { ...noSubscription, from: true, to: true },
}

function nameOf(state: SubscriptionState): string {
  const base = { none: 'None', to: 'To', from: 'From', both: 'Both' }[subscriptionName(state)]
  const { ask, pendingIn, approved } = state
  return `${base}${ask ? '+Out' : ''}${pendingIn ? '+In' : ''}${approved ? '+Approved' : ''}`
}

/** `·`: no change. Tables A.2.1 to A.2.4 and A.3.1 to A.3.4, as next state and whether it goes on. */
const tables: Readonly<Record<string, string>> = {
  'out subscribe': `None → None+Out yes | None+Out · yes | None+In → None+Out+In yes | None+Out+In · yes
    | To · yes | To+In · yes | From → From+Out yes | From+Out · yes | Both · yes`,
  'out unsubscribe': `None · yes | None+Out → None yes | None+In · yes | None+Out+In → None+In yes
    | To → None yes | To+In → None+In yes | From · yes | From+Out → From yes | Both → From yes`,
  'out subscribed': `None → None+Approved no | None+Out → None+Out+Approved no | None+In → From yes
    | None+Out+In → From+Out yes | To → To+Approved no | To+In → Both yes
    | From · no | From+Out · no | Both · no`,
  'out unsubscribed': `None · no | None+Out · no | None+In → None yes | None+Out+In → None+Out yes
    | To · no | To+In → To yes | From → None yes | From+Out → None+Out yes | Both → To yes`,
  'in subscribe': `None → None+In yes | None+Out → None+Out+In yes | None+In · no | None+Out+In · no
    | To → To+In yes | To+In · no | From · no | From+Out · no | Both · no`,
  'in unsubscribe': `None · no | None+Out · no | None+In → None yes | None+Out+In → None+Out yes
    | To · no | To+In → To yes | From → None yes | From+Out → None+Out yes | Both → To yes`,
  'in subscribed': `None · no | None+Out → To yes | None+In · no | None+Out+In → To+In yes
    | To · no | To+In · no | From · no | From+Out → Both yes | Both · no`,
  'in unsubscribed': `None · no | None+Out → None yes | None+In · no | None+Out+In → None+In yes
    | To → None yes | To+In → None+In yes | From · no | From+Out → From yes | Both → From yes`,
}

for (const [name, rows] of Object.entries(tables)) {
  const [way, type] = name.split(' ') as ['in' | 'out', SubscriptionType]
  for (const row of rows.split('|')) {
    const match = /^(\S+) (?:·|→ (\S+)) (yes|no)$/.exec(row.trim().replace(/\s+/g, ' '))!
    const [, before, after = before, passes] = match
    test(`${way === 'in' ? 'their' : 'our'} ${type} in state ${before} leads to ${after}`, () => {
      const step = (way === 'in' ? inbound : outbound)(states[before!]!, type)
      assert.is(nameOf(step.next), after)
      assert.is(step.passes, passes === 'yes')
    })
  }
}

test('one who was approved before gets it at once', () => {
  const { next } = outbound(noSubscription, 'subscribed')
  const step = inbound(next, 'subscribe')
  assert.is(nameOf(step.next), 'From')
  assert.is(step.reply, 'subscribed')
  assert.is(step.presence, 'available')
})

test('two rosters agree after every exchange of up to six words', () => {
  let plays = 0
  const play = (ours: SubscriptionState, theirs: SubscriptionState, left: number): void => {
    plays++
    assert.is(ours.from, theirs.to, `${nameOf(ours)} against ${nameOf(theirs)}`)
    assert.is(ours.to, theirs.from, `${nameOf(ours)} against ${nameOf(theirs)}`)
    if (left === 0) return
    for (const type of types) {
      const [a, b] = exchange(ours, theirs, type)
      play(a, b, left - 1)
      const [c, d] = exchange(theirs, ours, type)
      play(d, c, left - 1)
    }
  }
  play(noSubscription, noSubscription, 6)
  assert.ok(plays > 200_000)
})

/** One says a word; what it leads to is said until nothing goes on. */
function exchange(
  speaker: SubscriptionState,
  listener: SubscriptionState,
  type: SubscriptionType,
): [SubscriptionState, SubscriptionState] {
  const said = outbound(speaker, type)
  if (!said.passes) return [said.next, listener]
  const heard = inbound(listener, type)
  const back = heard.reply === undefined ? said.next : inbound(said.next, heard.reply).next
  return [back, heard.next]
}

test.run()
