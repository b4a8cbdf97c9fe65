/**
 * Node configuration as a data form (XEP-0060 §16.4.4, XEP-0004): read from `publish-options` and
 * `configure`, and shown.
 */
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { xmppLimits } from '../limits.ts'
import { accessModels, sendLastModels } from './pubsub-nodes.ts'
import type { NodeConfig } from './pubsub-nodes.ts'

const nodeConfigForm = `${ns.pubsub}#node_config`
const publishOptionsForm = `${ns.pubsub}#publish-options`

/**
 * `base` with what the form says. Fields that we do not keep are ignored: clients send the whole form
 * back. @throws StanzaError `bad-request`, `not-acceptable` for a value that is none
 */
export function readConfig(form: XmlElement, base: NodeConfig): NodeConfig {
  let config = base
  const fields = form.elements('field')
  const type = fields.find(({ attrs }) => attrs.var === 'FORM_TYPE')?.childText('value')
  if (type !== undefined && type !== nodeConfigForm && type !== publishOptionsForm) {
    throw new StanzaError('bad-request', 'the form is no node configuration')
  }
  for (const field of fields) {
    const value = field.childText('value') ?? ''
    switch (field.attrs.var) {
      case 'pubsub#access_model': config = { ...config, accessModel: oneOf(accessModels, value) }; break
      case 'pubsub#max_items': config = { ...config, itemsMax: itemsMax(value) }; break
      case 'pubsub#persist_items': config = { ...config, isPersistent: flag(value) }; break
      case 'pubsub#send_last_published_item':
        config = { ...config, sendLast: oneOf(sendLastModels, value) }
        break
      case 'pubsub#deliver_payloads': config = { ...config, deliversPayloads: flag(value) }; break
      case 'pubsub#notify_retract': config = { ...config, notifiesRetract: flag(value) }; break
      case 'pubsub#title': config = { ...config, title: value.slice(0, 200) }; break
      default:
    }
  }
  return config
}

/** Whether a node is as `publish-options` demands (XEP-0060 §7.1.5): else nothing is published. */
export function meets(config: NodeConfig, form: XmlElement): boolean {
  return JSON.stringify(readConfig(form, config)) === JSON.stringify(config)
}

export function configForm(config: NodeConfig, type: 'form' | 'result'): XmlElement {
  const flagText = (value: boolean): string => value ? '1' : '0'
  const field = (
    name: string, fieldType: string, value: string, options: readonly string[] = [],
  ): XmlElement =>
    el(ns.dataForm, 'field', { var: name, type: fieldType },
      el(ns.dataForm, 'value', {}, value),
      ...options.map((option) => el(ns.dataForm, 'option', {}, el(ns.dataForm, 'value', {}, option))))
  return el(ns.dataForm, 'x', { type },
    field('FORM_TYPE', 'hidden', nodeConfigForm),
    field('pubsub#title', 'text-single', config.title),
    field('pubsub#access_model', 'list-single', config.accessModel, accessModels),
    field('pubsub#max_items', 'text-single', String(config.itemsMax)),
    field('pubsub#persist_items', 'boolean', flagText(config.isPersistent)),
    field('pubsub#send_last_published_item', 'list-single', config.sendLast, sendLastModels),
    field('pubsub#deliver_payloads', 'boolean', flagText(config.deliversPayloads)),
    field('pubsub#notify_retract', 'boolean', flagText(config.notifiesRetract)))
}

function oneOf<const T extends string>(values: readonly T[], given: string): T {
  const value = values.find((one) => one === given)
  if (value === undefined) {
    throw new StanzaError('not-acceptable', `"${given.slice(0, 40)}" is none of ${values.join(', ')}`)
  }
  return value
}

function itemsMax(given: string): number {
  if (given === 'max') return xmppLimits.pepItemsMax
  const count = /^\d{1,9}$/.test(given) ? Number(given) : NaN
  if (!(count <= xmppLimits.pepItemsMax)) {
    throw new StanzaError('not-acceptable', `a node keeps at most ${xmppLimits.pepItemsMax} items`)
  }
  return count
}

function flag(given: string): boolean {
  if (given === '1' || given === 'true') return true
  if (given === '0' || given === 'false') return false
  throw new StanzaError('not-acceptable', `"${given.slice(0, 40)}" is neither 0 nor 1`)
}
