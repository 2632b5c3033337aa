import { orders, totals } from '$lib/orders.js';

export const load = () => {
  const list = orders(60);
  return { orders: list, totals: totals(list) };
};
