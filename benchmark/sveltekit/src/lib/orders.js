// Data as on a page of a shop's back office. It is the same at each request, so that every response can be
// compared.

const CUSTOMERS = ['Ada', 'Grace', 'Edsger', 'Barbara', 'Donald', 'Radia', 'Tim', 'Frances'];
const STATES = ['new', 'paid', 'shipped', 'returned'];

const price = (cents) => `${(cents / 100).toFixed(2)} €`;

export const orders = (count) =>
  Array.from({ length: count }, (_, i) => ({
    id: 10_000 + i,
    customer: CUSTOMERS[(i * 5) % CUSTOMERS.length],
    state: STATES[(i * 7) % STATES.length],
    date: new Date(Date.UTC(2026, 0, 1) + i * 3_600_000).toISOString(),
    items: Array.from({ length: 1 + (i % 4) }, (_, item) => ({
      name: `Article ${(i * 31 + item * 17) % 500} <${item}>`,
      count: 1 + ((i + item) % 5),
      cents: 199 + ((i * 7919 + item * 104_729) % 20_000),
    })),
  })).sort((a, b) => a.customer.localeCompare(b.customer) || a.id - b.id);

export const sum = ({ items }) => items.reduce((total, { count, cents }) => total + count * cents, 0);

export const totals = (list) => {
  const byState = Object.groupBy
    ? Object.groupBy(list, ({ state }) => state)
    : list.reduce(
        (groups, order) => ({ ...groups, [order.state]: [...(groups[order.state] ?? []), order] }),
        {},
      );
  return Object.entries(byState).map(([state, found]) => ({
    state,
    count: found.length,
    total: price(found.reduce((total, order) => total + sum(order), 0)),
  }));
};

export { price };
