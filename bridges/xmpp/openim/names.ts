/** Namespaces of delivery receipts (XEP-0184) and chat markers (XEP-0333). */
export const receiptsNs = 'urn:xmpp:receipts'
export const markersNs = 'urn:xmpp:chat-markers:0'
