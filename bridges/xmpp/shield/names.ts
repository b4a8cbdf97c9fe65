/** Names of the metadata shield that others see. */

/** Of the mark `<sealed/>`, and the feature that says that this server has a shield. */
export const shieldNs = 'urn:openim:shield:0'
/** Where a domain says which openIM account carries its stanzas; served by the web door. */
export const wellKnownPath = '/.well-known/openim'
